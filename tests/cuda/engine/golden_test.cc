// Every supported model on the GPU against logits of Hugging Face transformers, in float32.
#include "tests/engine/golden.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace spate::test {
namespace {

class GpuGoldenModels : public testing::TestWithParam<std::string> {};

TEST_P(GpuGoldenModels, AgreeWithTransformersInF32) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    const auto engine = open({.model = golden_folder(GetParam()),
                              .device = "cuda",
                              .dtype = "f32",
                              .context_length = g.context});
    ASSERT_NE(engine, nullptr);

    EXPECT_LT(largest_difference(g, distributions(*engine, g.ids)), 2e-3);
  }
}

void expect_agreement_in(const char* type, double half_a_unit, const std::string& model,
                         bool deterministic) {
  for (const Golden& g : load_goldens(golden_folder(model))) {
    const auto engine = open({.model = golden_folder(model),
                              .device = "cuda",
                              .dtype = type,
                              .context_length = g.context,
                              .deterministic = deterministic});
    ASSERT_NE(engine, nullptr);

    EXPECT_EQ(engine->info().kv_dtype, type);
    EXPECT_LT(largest_difference(g, distributions(*engine, g.ids)),
              rounding_tolerance(g, engine->info(), half_a_unit))
        << type << " " << deterministic;
  }
}

TEST_P(GpuGoldenModels, AgreeWithTransformersInNarrowTypes) {
  for (const bool deterministic : {false, true}) {  // other kernels
    expect_agreement_in("bf16", kBf16HalfUnit, GetParam(), deterministic);
    expect_agreement_in("f16", kF16HalfUnit, GetParam(), deterministic);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GpuGoldenModels, testing::ValuesIn(golden_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace spate::test
