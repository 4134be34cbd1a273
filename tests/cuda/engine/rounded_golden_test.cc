// Quantized weights and caches on the GPU against transformers with the same numbers, in steps of
// so many rows that every kernel gets its turn.
#include "tests/engine/rounded_golden.h"

#include <gtest/gtest.h>

namespace spate::test {
namespace {

/// Rows of a step: products are streamed up to 8 (fp8: 16), widened up to 256, and the library's
/// beyond; attention up to 16 is decode's, and prefill's beyond.
constexpr std::int64_t kFew = 8, kSome = 200, kAll = 0;

struct Setting {
  const char* what;
  const char* weights;
  const char* kv_dtype;
  std::int64_t rows;
  bool deterministic = false;
};

template <class Check>
void check_all(std::initializer_list<Setting> settings, const Check& check) {
  for (const std::string& model : kRoundedGoldens) {
    const Golden g = rounded_golden(model);
    for (const Setting& s : settings) {
      const auto engine = open({.model = golden_folder(model),
                                .device = "cuda",
                                .weights = s.weights,
                                .kv_dtype = s.kv_dtype,
                                .max_batch_tokens = s.rows,
                                .deterministic = s.deterministic});
      ASSERT_NE(engine, nullptr);

      SCOPED_TRACE(model + " " + s.what + ", rows " + std::to_string(s.rows) +
                   (s.deterministic ? ", deterministic" : ""));
      check(*engine, g, s.what);
    }
  }
}

TEST(GpuRoundedGoldens, QuantizedWeightsAreTransformersWithThoseNumbers) {
  check_all({{"q8", "q8", "auto", kFew},
             {"q8", "q8", "auto", kSome},
             {"q8", "q8", "auto", kAll},
             {"q8", "q8", "auto", kAll, true},
             {"q4", "q4", "auto", kFew},
             {"q4", "q4", "auto", kSome},
             {"q4", "q4", "auto", kAll},
             {"q4", "q4", "auto", kAll, true},
             {"fp8", "fp8", "auto", kFew}},  // more rows are rounded too
            expect_the_same_numbers);
}

TEST(GpuRoundedGoldens, Fp8RowsAreRoundedLikeTransformers) {
  check_all({{"fp8-rows", "fp8", "auto", kSome},
             {"fp8-rows", "fp8", "auto", kAll},
             {"fp8-rows", "fp8", "auto", kAll, true}},
            expect_the_same_rounding);
}

TEST(GpuRoundedGoldens, AnInt8CacheIsTransformersWithThoseNumbers) {
  check_all({{"kv-int8", "auto", "int8", kFew},
             {"kv-int8", "auto", "int8", kAll},
             {"kv-int8", "auto", "int8", kAll, true}},
            expect_the_same_numbers);
}

TEST(GpuRoundedGoldens, AnFp8CacheIsRoundedLikeTransformers) {
  check_all({{"kv-fp8", "auto", "fp8", kFew},
             {"kv-fp8", "auto", "fp8", kAll},
             {"kv-fp8", "auto", "fp8", kAll, true}},
            expect_the_same_rounding);
}

}  // namespace
}  // namespace spate::test
