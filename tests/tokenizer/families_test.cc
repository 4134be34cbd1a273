// Whole tokenizers of every family against Hugging Face `tokenizers` and `sentencepiece`.
#include <gtest/gtest.h>

#include "tests/tokenizer/goldens.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

class Family : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::load(test::golden_path(GetParam()));
    ASSERT_TRUE(loaded) << loaded.error().message;
    tokenizer_ = std::move(*loaded);
    goldens_ = test::read_golden(std::string(GetParam()) + "/goldens.json");
  }

  std::unique_ptr<Tokenizer> tokenizer_{};
  Json goldens_{};
  std::vector<std::string> texts_ = test::golden_texts();
};

TEST_P(Family, EncodesLikeTheReference) {
  if (!goldens_.contains("encode")) GTEST_SKIP() << "the reference does not parse special tokens";
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const std::vector<TokenId> expected = goldens_["encode"][i];

    EXPECT_EQ(tokenizer_->encode(texts_[i], {.add_special_tokens = false}), expected)
        << "text " << i << ": '" << texts_[i] << "'";
  }
}

TEST_P(Family, LeavesSpecialTokensInTextAloneOnRequest) {
  for (const auto& [i, ids] : test::indexed(goldens_["encode_unparsed"])) {
    const std::vector<TokenId> expected = ids;

    EXPECT_EQ(
        tokenizer_->encode(texts_[i], {.add_special_tokens = false, .parse_special_tokens = false}),
        expected)
        << "text " << i << ": '" << texts_[i] << "'";
  }
}

TEST_P(Family, AddsTheSpecialTokensOfTheReference) {
  if (!goldens_.contains("encode_special")) GTEST_SKIP() << "the reference adds none";
  const std::vector<TokenId> expected = goldens_["encode_special"];

  EXPECT_EQ(tokenizer_->encode("Hello world"), expected);
}

TEST_P(Family, DecodesLikeTheReference) {
  for (const Json& row : goldens_["decode"]) {
    const std::vector<TokenId> ids = row["ids"];

    EXPECT_EQ(tokenizer_->decode(ids), row["skipped"].get<std::string>()) << row["ids"];
    if (row.contains("kept")) {
      EXPECT_EQ(tokenizer_->decode(ids, {.skip_special_tokens = false}),
                row["kept"].get<std::string>())
          << row["ids"];
    }
  }
}

TEST_P(Family, StreamsWholeCharactersThatAddUpToTheText) {
  for (const Json& row : goldens_["decode"]) {
    Detokenizer stream(*tokenizer_);
    std::string text;
    for (const TokenId id : row["ids"]) {
      const std::string piece = stream.push(id);
      EXPECT_TRUE(is_valid_utf8(piece)) << row["ids"];
      text += piece;
    }
    text += stream.flush();

    EXPECT_EQ(text, row["skipped"].get<std::string>());
  }
}

TEST_P(Family, ContinuesAContextAsInTheWhole) {
  for (const Json& row : goldens_["decode"]) {
    const std::vector<TokenId> ids = row["ids"];
    const auto context = std::span(ids).first(ids.size() / 2);
    Detokenizer whole(*tokenizer_);
    std::string before;
    for (const TokenId id : context) before += whole.push(id);

    Detokenizer stream(*tokenizer_, {}, context);
    std::string after;
    for (const TokenId id : std::span(ids).subspan(context.size())) after += stream.push(id);
    after += stream.flush();

    EXPECT_EQ(before + after, row["skipped"].get<std::string>()) << row["ids"];
  }
}

INSTANTIATE_TEST_SUITE_P(All, Family,
                         testing::Values("bailing", "bert", "deepseek_llm", "deepseek_v3", "falcon",
                                         "gemma", "gpt2", "llama2", "llama3", "mistral_v3", "mpt",
                                         "o200k", "phi3", "qwen2", "roberta", "sp_bpe_suffix",
                                         "sp_bpe_unused", "sp_bpe_user", "sp_llama", "sp_no_prefix",
                                         "sp_not_legacy", "sp_unigram", "sp_unigram_bytes",
                                         "starcoder", "t5", "tekken", "word_level", "words"),
                         [](const auto& family) { return family.param; });

TEST(OldFolder, IsReadFromVocabAndMerges) {
  auto loaded = Tokenizer::load(test::golden_path("opt"));
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Tokenizer& tokenizer = **loaded;
  const TokenId bos = *tokenizer.token_to_id("</s>");
  const Json goldens = test::read_golden("gpt2/goldens.json");
  const std::vector<std::string> texts = test::golden_texts();

  EXPECT_EQ(tokenizer.bos_id(), bos);
  EXPECT_EQ(tokenizer.eos_id(), bos);
  EXPECT_EQ(tokenizer.chat_template(), "{{ messages }}");
  EXPECT_EQ(tokenizer.encode(""), std::vector<TokenId>{bos});
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::vector<TokenId> expected = goldens["encode"][i];
    if (texts[i].find('<') != std::string::npos) continue;  // other special tokens
    EXPECT_EQ(tokenizer.encode(texts[i], {.add_special_tokens = false}), expected) << i;
  }
}

}  // namespace
}  // namespace spate
