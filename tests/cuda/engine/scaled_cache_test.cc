// Scales of an e4m3 cache that a checkpoint brings.
#include "tests/engine/scaled_cache.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/engine/golden.h"

namespace spate::test {
namespace {

using Scales = std::map<std::string, std::vector<float>>;

/// Steps of 5 rows go through decode's kernel, of 200 through prefill's.
std::vector<std::vector<float>> logprobs(const std::string& model, std::int64_t rows) {
  const auto engine = open({.model = model,
                            .device = "cuda",
                            .kv_dtype = "fp8",
                            .max_batch_tokens = rows,
                            .deterministic = true});
  if (engine == nullptr) return {};
  return distributions(*engine, load_goldens(golden_folder("llama-gqa4-dim128")).back().ids);
}

TEST(GpuScaledCache, HasTheBitsOfTheModelThatNeedsNoScales) {
  const std::string plain = "llama-gqa4-dim128";  // two kv heads
  const float key = std::ldexp(1.0F, kKeyExponent), value = std::ldexp(1.0F, kValueExponent);
  for (const Scales& scales :
       {Scales{{"self_attn.k_scale", {key}}, {"self_attn.v_scale", {value}}},
        Scales{{"self_attn.k_scale", {key, key}}, {"self_attn.v_scale", {value, value}}},
        Scales{{"self_attn.k_proj.k_scale", {key}}, {"self_attn.v_proj.v_scale", {value}}}}) {
    const TemporaryFolder folder;
    write_scaled_model(folder, plain, scales);
    for (const std::int64_t rows : {5, 200}) {
      SCOPED_TRACE(scales.begin()->first + ", rows " + std::to_string(rows));

      EXPECT_EQ(logprobs(folder.path(), rows), logprobs(golden_folder(plain), rows));
    }
  }
}

TEST(GpuScaledCache, IsWantedWhereKeysAreLarge) {
  const TemporaryFolder folder;
  write_scaled_model(folder, "llama-gqa4-dim128", {});

  EXPECT_NE(logprobs(folder.path(), 200), logprobs(golden_folder("llama-gqa4-dim128"), 200));
}

}  // namespace
}  // namespace spate::test
