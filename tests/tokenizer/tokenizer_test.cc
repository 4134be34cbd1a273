// What holds for every tokenizer: robustness, errors, configuration files.
#include "tokenizer/tokenizer.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tokenizer/goldens.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

using testing::HasSubstr;

std::unique_ptr<Tokenizer> load(const std::string& name) {
  auto loaded = Tokenizer::load(test::golden_path(name));
  EXPECT_TRUE(loaded) << loaded.error().message;
  return std::move(*loaded);
}

/// A copy of a golden folder that a test may change.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() /
              ("spate_tokenizer_" + name + std::to_string(std::random_device{}()))) {
    std::filesystem::copy(test::golden_path(name), path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

std::string error_of(const Json& config) {
  const auto loaded = Tokenizer::from_json(config.dump(), "f");
  return loaded ? "" : loaded.error().message;
}

TEST(Tokenizer, EncodesAMegabyteWithoutASpaceInNoTime) {
  for (const char* name : {"llama3", "llama2", "sp_llama", "sp_unigram", "gemma"}) {
    const auto tokenizer = load(name);
    const auto start = std::chrono::steady_clock::now();

    const std::vector<TokenId> ids = tokenizer->encode(std::string(1 << 20, 'a'));

    EXPECT_GT(ids.size(), 0U);
    // A quadratic merge takes minutes; the limit leaves room for sanitizers and busy machines.
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << name;
  }
}

TEST(Tokenizer, LongAndShortWordsMergeAlike) {
  const auto tokenizer = load("gpt2");
  const std::string words = "supercalifragilisticexpialidociousfibonacci";
  std::string text;
  for (int i = 0; i < 40; ++i) text += words;  // beyond the limit of the linear merge
  const std::vector<TokenId> once = tokenizer->encode(words);

  const std::vector<TokenId> ids = tokenizer->encode(text);

  EXPECT_EQ(tokenizer->decode(ids), text);
  // Away from the seams the same tokens repeat.
  const std::vector<TokenId> middle(ids.begin() + 2, ids.begin() + 8);
  EXPECT_NE(std::search(once.begin(), once.end(), middle.begin() + 1, middle.begin() + 4),
            once.end());
}

TEST(Tokenizer, SurvivesRandomBytes) {
  std::mt19937 random(1);
  for (const char* name : {"llama3", "llama2", "sp_bpe_user", "sp_unigram", "bert", "t5"}) {
    const auto tokenizer = load(name);
    for (int round = 0; round < 200; ++round) {
      std::string text(random() % 64, '\0');
      for (char& c : text) c = static_cast<char>(random());

      const std::vector<TokenId> ids = tokenizer->encode(text);

      EXPECT_EQ(ids, tokenizer->encode(repair_utf8(text)));
      EXPECT_TRUE(is_valid_utf8(tokenizer->decode(ids)));
      for (const TokenId id : ids) EXPECT_LT(id, tokenizer->vocab_size());
    }
  }
}

TEST(Tokenizer, RoundTripsAnyTextWithAByteLevelVocabulary) {
  const auto tokenizer = load("llama3");
  for (const std::string& text : test::golden_texts()) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, {.parse_special_tokens = false})),
              repair_utf8(text));
  }
}

TEST(Tokenizer, IgnoresIdsItDoesNotHave) {
  const auto tokenizer = load("gpt2");
  const std::vector<TokenId> ids = {-1, 1 << 30, *tokenizer->token_to_id("Ġthe"), 100'000};

  EXPECT_EQ(tokenizer->decode(ids), " the");
  EXPECT_EQ(tokenizer->id_to_token(-5), "");
  EXPECT_FALSE(tokenizer->is_special(-5));
}

TEST(Tokenizer, GivesTheSameIdsFromManyThreads) {
  const auto tokenizer = load("deepseek_v3");
  const std::string text = test::golden_texts().back();
  const std::vector<TokenId> expected = tokenizer->encode(text);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);

  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) wrong[t] += tokenizer->encode(text) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(TokenizerConfig, NamesTokensAndGivesTheTemplate) {
  const Folder folder("llama3");
  folder.write("tokenizer_config.json", R"({
    "bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|eot_id|>"},
    "chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}],
    "added_tokens_decoder": {"9000": {"content": "<|new|>", "special": true}}})");

  const auto loaded = Tokenizer::load(folder.path());

  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ((*loaded)->bos_id(), (*loaded)->token_to_id("<|begin_of_text|>"));
  EXPECT_EQ((*loaded)->eos_id(), (*loaded)->token_to_id("<|eot_id|>"));
  EXPECT_EQ((*loaded)->chat_template(), "d");
  EXPECT_EQ((*loaded)->encode("<|new|>", {.add_special_tokens = false}),
            std::vector<TokenId>{9000});
  EXPECT_EQ((*loaded)->vocab_size(), 9001);
}

TEST(TokenizerConfig, LetsAJinjaFileWin) {
  const Folder folder("llama3");
  folder.write("tokenizer_config.json", R"({"chat_template": "old"})");
  folder.write("chat_template.jinja", "new");

  const auto loaded = Tokenizer::load(folder.path());

  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ((*loaded)->chat_template(), "new");
}

TEST(TokenizerConfig, DecidesAboutBosForLlamaClasses) {
  const Folder folder("deepseek_llm");
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": true,
                   "add_eos_token": false, "bos_token": "<s>"})");

  const auto loaded = Tokenizer::load(folder.path());

  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ((*loaded)->encode("x").front(), *(*loaded)->token_to_id("<s>"));
  EXPECT_EQ((*loaded)->encode("x").size(), 2U);
}

TEST(TokenizerConfig, LeavesTheFrameOfOtherClassesToTokenizerJson) {
  const Folder folder("gpt2");
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": true,
                   "bos_token": "<|endoftext|>"})");

  const auto loaded = Tokenizer::load(folder.path());

  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ((*loaded)->encode("x").size(), 1U);
}

TEST(TokenizerErrors, NameWhatIsMissingInAFolder) {
  const auto loaded = Tokenizer::load("tests");

  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(loaded.error().message, HasSubstr("tokenizer.json, tokenizer.model, or vocab.json"));
}

TEST(TokenizerErrors, NameTheByteOfBrokenJson) {
  const auto loaded = Tokenizer::from_json("{\"model\": [1,", "f");

  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(loaded.error().message, HasSubstr("f: not valid JSON at byte 14"));
}

TEST(TokenizerErrors, NameTheKeyAndTheValue) {
  const Json good = test::read_golden("gpt2/tokenizer.json");
  Json bad = good;
  bad["model"]["vocab"]["x y"] = 1LL << 40;
  EXPECT_THAT(error_of(bad), HasSubstr("'x y' has id 1099511627776, which is not in [0, 4194304)"));
  bad = good;
  bad["model"]["merges"][7] = {"Ġ", "no such token"};
  EXPECT_THAT(error_of(bad),
              HasSubstr("/model/merges/7: 'no such token' is not in the vocabulary"));
  bad = good;
  bad["model"]["merges"][7] = "a b c";
  EXPECT_THAT(error_of(bad), HasSubstr("model/merges/7: 'a b c' is not two tokens and a space"));
  bad = good;
  bad["model"]["dropout"] = 0.1;
  EXPECT_THAT(error_of(bad), HasSubstr("/model/dropout: BPE dropout makes encoding random"));
  bad = good;
  bad["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
  EXPECT_THAT(error_of(bad), HasSubstr("/pre_tokenizer: unknown pre-tokenizer 'UnicodeScripts'"));
  bad = good;
  bad["decoder"] = {{"type", "CTC"}};
  EXPECT_THAT(error_of(bad), HasSubstr("/decoder: unknown decoder 'CTC'"));
  bad = good;
  bad["added_tokens"][0]["id"] = -3;
  bad["added_tokens"][0]["content"] = "fresh";
  EXPECT_THAT(error_of(bad), HasSubstr("/added_tokens/0: id -3 is not in"));
}

TEST(TokenizerErrors, NameTheExpressionThatDoesNotCompile) {
  Json bad = test::read_golden("llama3/tokenizer.json");
  bad["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a(b";

  EXPECT_THAT(error_of(bad), HasSubstr("cannot compile the regular expression 'a(b'"));
}

TEST(TokenizerErrors, NameTheOffsetInASentencePieceModel) {
  const std::string bytes = *read_file(test::golden_path("sp_llama/tokenizer.model"));

  const auto cut = Tokenizer::from_sentencepiece(bytes.substr(0, 1000), "m");
  const auto text = Tokenizer::from_sentencepiece("{\"not\": \"a model\"}", "m");

  ASSERT_FALSE(cut);
  EXPECT_THAT(cut.error().message, HasSubstr("m: byte "));
  EXPECT_THAT(cut.error().message, HasSubstr("bytes, "));
  ASSERT_FALSE(text);
}

TEST(TokenizerErrors, EveryTruncationOfAModelIsRefusedOrRead) {
  const std::string bytes = *read_file(test::golden_path("sp_bpe_suffix/tokenizer.model"));
  for (std::size_t size = 0; size < bytes.size(); size += 37) {
    const auto loaded = Tokenizer::from_sentencepiece(bytes.substr(0, size), "m");
    if (loaded) (void)(*loaded)->encode("Hello world");
  }
}

TEST(Detokenizer, HoldsAnIncompleteCharacterBack) {
  const auto tokenizer = load("gpt2");
  const std::vector<TokenId> ids =
      tokenizer->encode("\xF0\x9F\xA6\x99", {.add_special_tokens = false});
  ASSERT_GT(ids.size(), 1U);
  Detokenizer stream(*tokenizer);

  EXPECT_EQ(stream.push(ids.front()), "");
  std::string text;
  for (const TokenId id : std::span(ids).subspan(1)) text += stream.push(id);

  EXPECT_EQ(text, "\xF0\x9F\xA6\x99");
}

TEST(Detokenizer, KeepsTheSpaceOfACompletion) {
  const auto tokenizer = load("llama2");
  const std::vector<TokenId> prompt = tokenizer->encode("Once");
  const std::vector<TokenId> ids = {*tokenizer->token_to_id("▁the")};

  Detokenizer alone(*tokenizer);
  Detokenizer after(*tokenizer, {}, prompt);

  EXPECT_EQ(alone.push(ids[0]), "the");
  EXPECT_EQ(after.push(ids[0]), " the");
}

}  // namespace
}  // namespace spate
