// Real tokenizers against published vectors, where the folder ../shared is there.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/tokenizer/goldens.h"
#include "tokenizer/tokenizer.h"

namespace spate {
namespace {

class SharedData : public testing::Test {
 protected:
  void SetUp() override {
    if (root_.empty()) GTEST_SKIP() << "../shared/data/tokenizers is not there";
  }

  std::unique_ptr<Tokenizer> load(const std::string& path) {
    auto loaded = Tokenizer::load(root_ + "/" + path);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? std::move(*loaded) : nullptr;
  }

  /// Lines of {"text", "ids"}, without special tokens.
  void expect_vectors(const Tokenizer& tokenizer, const std::string& name) {
    std::ifstream in(root_ + "/vectors/" + name);
    std::int64_t count = 0;
    for (std::string line; std::getline(in, line); ++count) {
      const Json row = *parse_json(line, name);
      const std::vector<TokenId> expected = row["ids"];
      EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>(), {.add_special_tokens = false}),
                expected)
          << row["text"];
    }
    EXPECT_GT(count, 40);
  }

  /// Texts and lines of ids in the layout of the .inp and .out files.
  void expect_pairs(const Tokenizer& tokenizer, const std::string& stem) {
    std::ifstream in(root_ + "/gguf_vocab/" + stem + ".inp");
    std::ifstream out(root_ + "/gguf_vocab/" + stem + ".out");
    std::stringstream all;
    all << in.rdbuf();
    std::string rest = all.str();
    const std::string separator = "\n__ggml_vocab_test__\n";
    for (std::string line; std::getline(out, line);) {
      const std::size_t end = std::min(rest.find(separator), rest.size());
      const std::string text = rest.substr(0, end);
      rest.erase(0, std::min(end + separator.size(), rest.size()));
      std::istringstream numbers(line);
      std::vector<TokenId> expected;
      for (TokenId id = 0; numbers >> id;) expected.push_back(id);
      EXPECT_EQ(tokenizer.encode(text, {.add_special_tokens = false}), expected) << text;
    }
  }

  const std::string root_ = test::shared_tokenizers();
};

TEST_F(SharedData, Gpt2MatchesItsVectors) {
  const auto tokenizer = load("gpt2");
  ASSERT_TRUE(tokenizer);
  expect_vectors(*tokenizer, "gpt-2.jsonl");
  expect_pairs(*tokenizer, "ggml-vocab-gpt-2.gguf");
}

TEST_F(SharedData, Gpt2FromVocabAndMergesMatchesToo) {
  const auto tokenizer = load("extracted/gpt-2");
  ASSERT_TRUE(tokenizer);
  expect_vectors(*tokenizer, "gpt-2.jsonl");
}

TEST_F(SharedData, Llama2SentencePieceMatchesItsVectors) {
  const auto tokenizer = load("llama2");
  ASSERT_TRUE(tokenizer);
  expect_vectors(*tokenizer, "llama-spm.jsonl");
  expect_pairs(*tokenizer, "ggml-vocab-llama-spm.gguf");
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
}

TEST_F(SharedData, DeepSeekMatchesItsVectors) {
  // The published vocabulary with the steps of the family's tokenizer.json.
  Json config = test::read_golden("deepseek_llm/tokenizer.json");
  const std::string folder = root_ + "/extracted/deepseek-llm";
  config["added_tokens"] = Json::array();
  config["model"]["vocab"] = *read_json(folder + "/vocab.json");
  config["model"]["merges"] = Json::array();
  std::ifstream merges(folder + "/merges.txt");
  for (std::string line; std::getline(merges, line);) {
    if (!line.starts_with("#version") && !line.empty()) config["model"]["merges"].push_back(line);
  }

  const auto loaded = Tokenizer::from_json(config.dump(), "deepseek");

  ASSERT_TRUE(loaded) << loaded.error().message;
  expect_vectors(**loaded, "deepseek-llm.jsonl");
  expect_pairs(**loaded, "ggml-vocab-deepseek-llm.gguf");
}

TEST_F(SharedData, StoryModelsRoundTripTheirText) {
  for (const std::string name : {"stories-1m", "stories-12m", "stories-32m"}) {
    const std::string path = "../shared/models/" + name;
    if (!std::filesystem::exists(path)) continue;
    const auto loaded = Tokenizer::load(path);
    ASSERT_TRUE(loaded) << loaded.error().message;
    const std::string text = "Once upon a time, there was a little girl.\nHer name was Zoë 🙂.";

    const std::vector<TokenId> ids = (*loaded)->encode(text);

    EXPECT_EQ((*loaded)->decode(ids), text);
    EXPECT_EQ((*loaded)->eos_id(), (*loaded)->token_to_id("<|endoftext|>"));
    EXPECT_FALSE((*loaded)->chat_template().empty());
    EXPECT_EQ((*loaded)->vocab_size(), 4096);
  }
}

}  // namespace
}  // namespace spate
