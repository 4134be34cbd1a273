// Quantized weights and caches on the CPU against transformers with the same numbers.
#include "tests/engine/rounded_golden.h"

#include <gtest/gtest.h>

namespace spate::test {
namespace {

TEST(RoundedGoldens, QuantizedWeightsAreTransformersWithThoseNumbers) {
  for (const std::string& model : kRoundedGoldens) {
    const Golden g = rounded_golden(model);
    for (const char* weights : {"q8", "q4"}) {
      const auto engine = open({.model = golden_folder(model), .weights = weights});
      ASSERT_NE(engine, nullptr);

      SCOPED_TRACE(model + " " + weights);
      expect_the_same_numbers(*engine, g, weights);
    }
  }
}

TEST(RoundedGoldens, AnInt8CacheIsTransformersWithThoseNumbers) {
  for (const std::string& model : kRoundedGoldens) {
    const Golden g = rounded_golden(model);
    for (const char* type : {"f32", "bf16"}) {
      const auto engine = open({.model = golden_folder(model), .dtype = type, .kv_dtype = "int8"});
      ASSERT_NE(engine, nullptr);

      SCOPED_TRACE(model + " " + type);
      expect_the_same_numbers(*engine, g, "kv-int8");
    }
  }
}

}  // namespace
}  // namespace spate::test
