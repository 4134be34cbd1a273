// Folders as they are published: the goldens of tests/models/data.
#include <algorithm>
#include <filesystem>

#include <gmock/gmock.h>

#include "core/load_error.h"
#include "weights/checkpoint.h"
#include "weights/generation_config.h"
#include "weights/hf_config.h"

namespace spate {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> folders() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator("tests/models/data")) {
    if (entry.is_directory()) out.push_back(entry.path().filename());
  }
  return out;
}

class Published : public testing::TestWithParam<std::string> {
 protected:
  std::string folder_ = "tests/models/data/" + GetParam();
};

TEST_P(Published, FoldersOpenAndTheirConfigsAgreeWithTheirTensors) {
  const HfConfig hf = value_or_throw(HfConfig::load(folder_));
  const Checkpoint checkpoint = value_or_throw(Checkpoint::open(folder_));
  const DecoderShape shape = hf.decoder_shape();
  const std::string last = "model.layers." + std::to_string(shape.layers - 1);
  const TensorInfo* q = checkpoint.find(last + ".self_attn.q_proj.weight");
  ASSERT_NE(q, nullptr);

  EXPECT_EQ(q->view.dim(0), shape.query_heads * shape.head_dim);
  EXPECT_EQ(q->view.dim(1), shape.hidden);
  EXPECT_EQ(q->view.dtype(), hf.dtype());
  EXPECT_TRUE(q->mapped);
  EXPECT_EQ(checkpoint.has("lm_head"), !hf.flag("tie_word_embeddings", false));
  EXPECT_THAT(hf.eos_token_ids(), testing::ElementsAre(2));
  EXPECT_FALSE(value_or_throw(GenerationConfig::load(folder_)).eos_token_ids.empty());
}

INSTANTIATE_TEST_SUITE_P(Goldens, Published, testing::ValuesIn(folders()), [](const auto& test) {
  std::string name = test.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace spate
