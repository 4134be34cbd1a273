// Every supported model against logits that Hugging Face transformers computed in float32
// (tools/make_model_goldens.py), through the whole engine.
#include "tests/engine/golden.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace spate::test {
namespace {

class GoldenModels : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModels, AgreeWithTransformersInF32) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    const auto engine =
        open({.model = golden_folder(GetParam()), .dtype = "f32", .context_length = g.context});
    ASSERT_NE(engine, nullptr);

    EXPECT_LT(largest_difference(g, distributions(*engine, g.ids)), 1e-3);
  }
}

TEST_P(GoldenModels, AgreeWithTransformersInNarrowTypes) {
  for (const auto& [type, half_a_unit] :
       {std::pair("bf16", kBf16HalfUnit), {"f16", kF16HalfUnit}}) {
    for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
      const auto engine =
          open({.model = golden_folder(GetParam()), .dtype = type, .context_length = g.context});
      ASSERT_NE(engine, nullptr);

      EXPECT_EQ(engine->info().kv_dtype, type);
      EXPECT_LT(largest_difference(g, distributions(*engine, g.ids)),
                rounding_tolerance(g, engine->info(), half_a_unit))
          << type;
    }
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

INSTANTIATE_TEST_SUITE_P(Models, GoldenModels, testing::ValuesIn(golden_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace spate::test
