// Single steps against Hugging Face `tokenizers`: expressions, pre-tokenizers, normalizers,
// decoders.
#include <gtest/gtest.h>

#include "core/load_error.h"
#include "tests/tokenizer/goldens.h"
#include "tokenizer/decode_streams.h"
#include "tokenizer/decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

std::vector<std::string> pieces_of(const PreTokenizer& pre, const std::string& text) {
  Segments segments(text, true);
  pre.apply(segments);
  std::vector<std::string> pieces;
  for (const Segment& segment : segments.items()) {
    if (!segment.text.empty()) pieces.emplace_back(segment.text);
  }
  return pieces;
}

TEST(PreTokenizers, CutWithExpressionsLikeOniguruma) {
  const std::vector<std::string> texts = test::golden_texts();
  for (const Json& row : test::read_golden("expressions.json")) {
    const auto pre = make_pre_tokenizer(JsonNode(row["config"], "config"));
    for (const auto& [i, value] : test::indexed(row["lengths"])) {
      std::vector<std::size_t> lengths;
      for (const std::string& piece : pieces_of(*pre, repair_utf8(texts[i]))) {
        lengths.push_back(piece.size());
      }
      const std::vector<std::size_t> expected = value;

      EXPECT_EQ(lengths, expected) << row["config"]["pattern"] << " on '" << texts[i] << "'";
    }
  }
}

TEST(PreTokenizers, DoWhatTheReferenceDoes) {
  const std::vector<std::string> texts = test::golden_texts();
  for (const Json& row : test::read_golden("pre_tokenizers.json")) {
    const auto pre = make_pre_tokenizer(JsonNode(row["config"], "config"));
    for (const auto& [i, value] : test::indexed(row["pieces"])) {
      const std::vector<std::string> expected = value;

      EXPECT_EQ(pieces_of(*pre, repair_utf8(texts[i])), expected)
          << row["config"] << " on '" << texts[i] << "'";
    }
  }
}

TEST(Normalizers, DoWhatTheReferenceDoes) {
  const std::vector<std::string> texts = test::golden_texts();
  for (const Json& row : test::read_golden("normalizers.json")) {
    const auto normalizer = make_normalizer(JsonNode(row["config"], "config"));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (texts[i].size() > 100) continue;
      std::string text = repair_utf8(texts[i]);
      const std::string expected = row["texts"].value(std::to_string(i), text);

      normalizer->apply(text);

      EXPECT_EQ(text, expected) << row["config"] << " on text " << i;
    }
  }
}

TEST(Normalizers, TakeLinearTimeForAMillionCombiningMarks) {
  const Json config = {{"type", "NFC"}};
  const auto normalizer = make_normalizer(JsonNode(config, "config"));
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) text += i % 2 == 0 ? "\xCC\x81" : "\xCC\xA3";

  normalizer->apply(text);

  EXPECT_TRUE(text.starts_with("\xE1\xBA\xA1"));  // a with dot below: class 220 comes first
}

/// The end of a chain of streams.
class Collector final : public DecodeStream {
 public:
  explicit Collector(std::string& text) : text_(text) {}
  void push(std::string_view text, bool) override { text_ += text; }
  void finish() override {}

 private:
  std::string& text_;
};

TEST(Decoders, DoWhatTheReferenceDoes) {
  const Json goldens = test::read_golden("decoders.json");
  for (const Json& row : goldens["decoders"]) {
    const Json& config = row["config"];
    const auto decoder =
        config.is_null() ? make_joining_decoder() : make_decoder(JsonNode(config, "config"));
    for (std::size_t i = 0; i < goldens["tokens"].size(); ++i) {
      std::string text;
      const auto stream = decoder->start(std::make_unique<Collector>(text));
      for (const std::string token : goldens["tokens"][i]) stream->push(token, true);
      stream->finish();

      EXPECT_EQ(text, row["texts"][i].get<std::string>()) << config << goldens["tokens"][i];
    }
  }
}

TEST(Decoders, LetALongRunOfBytesFlow) {
  const Json config = {{"type", "ByteFallback"}};
  const auto decoder = make_decoder(JsonNode(config, "config"));
  std::string text;
  const auto stream = decoder->start(std::make_unique<Collector>(text));

  for (int i = 0; i < 100; ++i) {
    stream->push("<0xC3>", true);
    stream->push("<0xA9>", true);
  }

  EXPECT_GE(text.size(), 200 - ByteFallbackStream::kMaxRun);
}

TEST(UnknownTypes, AreRefusedByName) {
  const Json config = {{"type", "Sequence"},
                       {"normalizers", Json::array({{{"type", "NFC"}}, {{"type", "Rot13"}}})}};
  try {
    (void)make_normalizer(JsonNode(config, "tokenizer.json: /normalizer"));
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_EQ(error.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(error.error().message,
              "tokenizer.json: /normalizer/normalizers/1: unknown normalizer 'Rot13'");
  }
}

}  // namespace
}  // namespace spate
