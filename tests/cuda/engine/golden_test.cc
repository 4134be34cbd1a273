// Every supported model on the GPU against logits and greedy tokens of Hugging Face transformers.
#include "tests/engine/golden.h"

#include <gtest/gtest.h>

namespace spate::test {
namespace {

constexpr double kF32Tolerance = 2e-3;

/// Deterministic or not: other kernels.
struct Arithmetic {
  const char* type;
  bool deterministic;
};
constexpr Arithmetic kArithmetics[] = {{"f32", false}, {"f32", true},  {"bf16", false},
                                       {"bf16", true}, {"f16", false}, {"f16", true}};

/// Of logits and of the greedy continuation. rows: of a step at most; 0: all.
void expect_agreement(const std::string& model, const Golden& g, const Arithmetic& a,
                      std::int64_t rows = 0) {
  SCOPED_TRACE(model + " " + a.type + (a.deterministic ? ", deterministic" : "") + ", rows " +
               std::to_string(rows));
  const auto engine = open({.model = golden_folder(model),
                            .device = "cuda",
                            .dtype = a.type,
                            .context_length = g.context,
                            .max_batch_tokens = rows,
                            .deterministic = a.deterministic});
  ASSERT_NE(engine, nullptr);
  const double tolerance = tolerance_in(a.type, g, engine->info(), kF32Tolerance);

  EXPECT_EQ(engine->info().kv_dtype, a.type);
  expect_within(tolerance, golden_rows(g, distributions(*engine, g.ids)), g.logprobs);
  expect_greedy_continuation(*engine, g, tolerance);
}

class GpuGoldenModels : public testing::TestWithParam<std::string> {};

TEST_P(GpuGoldenModels, AgreeWithTransformersAndContinueLikeThem) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    for (const Arithmetic& a : kArithmetics) expect_agreement(GetParam(), g, a);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GpuGoldenModels, testing::ValuesIn(golden_names()),
                         golden_test_name);

class GpuGoldensOfHeadDims : public testing::TestWithParam<std::string> {};

/// Decode's kernels take up to 16 rows, prefill's the others, here from within the cache.
TEST_P(GpuGoldensOfHeadDims, AgreeWithTransformersInStepsOfAnyRows) {
  const Golden g = load_goldens(golden_folder(GetParam())).back();
  for (const Arithmetic& a : kArithmetics) {
    for (const std::int64_t rows : {5, 16, 100}) expect_agreement(GetParam(), g, a, rows);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GpuGoldensOfHeadDims, testing::ValuesIn(golden_names("-dim")),
                         golden_test_name);

}  // namespace
}  // namespace spate::test
