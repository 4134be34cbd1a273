#include "weights/generation_config.h"

#include <gmock/gmock.h>

#include "tests/weights/files.h"

namespace spate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(GenerationConfig, KeepsEndTokensAndDefaultsWithoutNulls) {
  const auto config = GenerationConfig::parse(
      R"({"eos_token_id": [0, 2], "temperature": 0.7, "top_k": null})", "g.json");
  ASSERT_TRUE(config);

  EXPECT_THAT(config->eos_token_ids, ElementsAre(0, 2));
  EXPECT_EQ(config->defaults.at("temperature"), 0.7);
  EXPECT_FALSE(config->defaults.contains("top_k"));
}

TEST(GenerationConfig, OfAFolderWithoutOneIsEmpty) {
  const TemporaryFolder folder;
  const auto config = GenerationConfig::load(folder.path());
  ASSERT_TRUE(config);

  EXPECT_THAT(config->eos_token_ids, IsEmpty());
  EXPECT_TRUE(config->defaults.empty());
}

TEST(GenerationConfig, NamesTheFileThatIsWrong) {
  const TemporaryFolder folder;
  folder.write("generation_config.json", R"({"eos_token_id": "stop"})");

  EXPECT_THAT(GenerationConfig::load(folder.path()).error().message,
              HasSubstr("generation_config.json: eos_token_id is \"stop\""));
  EXPECT_THAT(GenerationConfig::parse("{", "g.json").error().message, HasSubstr("g.json"));
}

}  // namespace
}  // namespace spate
