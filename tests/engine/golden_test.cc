// Every supported model against logits and greedy tokens of Hugging Face transformers in float32
// (tools/make_model_goldens.py), through the whole engine.
#include "tests/engine/golden.h"

#include <gtest/gtest.h>

namespace spate::test {
namespace {

constexpr double kF32Tolerance = 1e-3;

class GoldenModels : public testing::TestWithParam<std::string> {};

std::unique_ptr<Engine> open_golden(const std::string& model, const Golden& g, const char* type) {
  return open({.model = golden_folder(model), .dtype = type, .context_length = g.context});
}

TEST_P(GoldenModels, AgreeWithTransformers) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    for (const char* type : {"f32", "bf16", "f16"}) {
      const auto engine = open_golden(GetParam(), g, type);
      ASSERT_NE(engine, nullptr);

      SCOPED_TRACE(type);
      EXPECT_EQ(engine->info().kv_dtype, type);
      expect_within(tolerance_in(type, g, engine->info(), kF32Tolerance),
                    golden_rows(g, distributions(*engine, g.ids)), g.logprobs);
    }
  }
}

TEST_P(GoldenModels, ContinueLikeTransformers) {
  for (const Golden& g : load_goldens(golden_folder(GetParam()))) {
    for (const char* type : {"f32", "bf16", "f16"}) {
      const auto engine = open_golden(GetParam(), g, type);
      ASSERT_NE(engine, nullptr);

      SCOPED_TRACE(type);
      expect_greedy_continuation(*engine, g, tolerance_in(type, g, engine->info(), kF32Tolerance));
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

INSTANTIATE_TEST_SUITE_P(Models, GoldenModels, testing::ValuesIn(golden_names()), golden_test_name);

}  // namespace
}  // namespace spate::test
