// Every supported model against logits that Hugging Face transformers computed in float32
// (tools/make_model_goldens.py), through the whole engine.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/engine/engine_fixture.h"
#include "weights/checkpoint.h"

namespace spate::test {
namespace {

struct Golden {
  std::vector<TokenId> ids{};
  std::int64_t context = 0;
  std::int64_t first_row = 0;
  std::vector<std::vector<double>> logprobs{};  // of rows first_row ...
  double max_logit = 0.0;
};

std::vector<double> log_softmax(const float* logits, std::int64_t n) {
  const double top = *std::max_element(logits, logits + n);
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(logits[i]) - top);
  std::vector<double> out;
  for (std::int64_t i = 0; i < n; ++i) {
    out.push_back(static_cast<double>(logits[i]) - top - std::log(sum));
  }
  return out;
}

std::vector<Golden> load_goldens(const std::string& folder) {
  const Result<Json> json = read_json(folder + "/golden.json");
  Result<Checkpoint> tensors = Checkpoint::open(folder + "/golden.safetensors");
  EXPECT_TRUE(json && tensors);
  std::vector<Golden> goldens;
  for (const Json& s : json->at("sequences")) {
    Golden g{.ids = s.at("ids").get<std::vector<TokenId>>(),
             .context = s.at("context").get<std::int64_t>(),
             .first_row = s.at("first_row").get<std::int64_t>()};
    const Tensor logits = tensors->tensors()[goldens.size()]->view;
    for (std::int64_t row = 0; row < logits.dim(0); ++row) {
      g.logprobs.push_back(log_softmax(logits.row<float>(row), logits.dim(1)));
      for (std::int64_t i = 0; i < logits.dim(1); ++i) {
        g.max_logit =
            std::max(g.max_logit, std::abs(static_cast<double>(logits.row<float>(row)[i])));
      }
    }
    goldens.push_back(std::move(g));
  }
  return goldens;
}

double largest_difference(const Golden& g, const std::vector<std::vector<float>>& rows) {
  double worst = 0.0;
  for (std::size_t r = 0; r < g.logprobs.size(); ++r) {
    const std::size_t row = static_cast<std::size_t>(g.first_row) + r;
    if (row == rows.size() && row + 1 == g.ids.size()) break;  // no room for the last
    const auto& ours = rows.at(row);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(ours[i]) - g.logprobs[r][i]));
    }
  }
  return worst;
}

class GoldenModels : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModels, AgreeWithTransformersInF32) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    const auto engine =
        open({.model = golden_folder(GetParam()), .dtype = "f32", .context_length = g.context});
    ASSERT_NE(engine, nullptr);

    EXPECT_LT(largest_difference(g, distributions(*engine, g.ids)), 1e-3);
  }
}

TEST_P(GoldenModels, AgreeWithTransformersInBf16) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    const auto engine = open({.model = golden_folder(GetParam()),
                              .dtype = "bf16",
                              .kv_dtype = "bf16",
                              .context_length = g.context});
    ASSERT_NE(engine, nullptr);
    // Rounding to bf16 is an error of 2^-9 relative, at most, at eight places of each layer (the
    // inputs of four matrices, queries, keys, values, probabilities) and before the head. They add
    // like a random walk; a logit is a sum of terms as large as itself, so four deviations of it,
    // doubled because scores of these sharp models amplify what enters the softmax.
    const double places = 8.0 * static_cast<double>(engine->info().layers) + 1.0;
    const double tolerance = 2.0 * 4.0 * std::exp2(-9.0) * std::sqrt(places) * g.max_logit;

    EXPECT_LT(largest_difference(g, distributions(*engine, g.ids)), tolerance);
  }
}

TEST_P(GoldenModels, GiveTheSameBitsOnEveryInstructionSetWithInt8Weights) {
  const std::vector<TokenId> ids = load_goldens(golden_folder(GetParam())).front().ids;
  std::vector<std::vector<float>> expected;
  for (const char* isa : {"auto", "avx2", "generic"}) {
    auto engine = Engine::create({.model = golden_folder(GetParam()),
                                  .weights = "q8",
                                  .kv_dtype = "f32",
                                  .kv_memory = std::int64_t{64} << 20,
                                  .isa = isa});
    if (!engine) continue;  // a lesser machine
    const auto rows = distributions(**engine, ids);
    if (expected.empty()) expected = rows;

    EXPECT_EQ(rows, expected) << isa;
  }
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(SPATE_SOURCE_DIR "/tests/models/data")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModels, testing::ValuesIn(golden_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace spate::test
