// Attention against the formula in double precision, from the numbers that the cache holds.
#include "ops/attention.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/ops/attention_fixture.h"

namespace spate {
namespace {

using test::AttentionBatch;
using test::AttentionCase;
using test::AttentionSequence;
using test::device_of;

/// How far element d may be off. Rounding: a chain of n additions of f32 wanders sqrt(n) of its
/// unit, 2^-24 (8 sigma); an error of a score, of d products, scales its weight by ln 2 times
/// itself; the polynomial adds 1e-7, or 3e-6 where weights are narrow. Then the weights' own type:
/// bf16 rounds each by 2^-8 at most; u8 is off by 0.29 / 255 (sigma) of the tile's largest product
/// of weight and scale, and 64 of those add up for each of the row's tiles.
double tolerance(const AttentionCase& c, const reference::AttentionRow& row,
                 const reference::AttentionResult& r, std::size_t d) {
  const double unit = std::exp2(-24);
  const auto dim = static_cast<double>(c.head_dim);
  const auto keys = static_cast<double>(row.keys.size());
  const double score = 8.0 * std::sqrt(dim) * unit * r.largest_products;
  double relative = 2.0 * (score + 8.0 * std::sqrt(keys) * unit + 1e-7);
  if (c.dtype == DType::kBF16) relative += std::exp2(-8) + 3e-6;
  double absolute = 1e-12;
  if (c.dtype == DType::kI8) {
    double largest = 0.0;
    for (const auto& v : row.values) {
      for (const double x : v) largest = std::max(largest, std::abs(x));
    }
    relative += 6e-6;
    absolute += 6.0 * 0.29 / 255.0 * 8.0 * largest / std::sqrt(std::max(1.0, keys / 64.0));
  }
  return relative * r.magnitude[d] + absolute;
}

using Parameters = std::tuple<CpuIsa, DType, std::int64_t, std::int64_t>;

class AttentionAgainstReference : public testing::TestWithParam<Parameters> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) > best_cpu_isa()) GTEST_SKIP() << "this machine lacks the set";
    case_ = {.dtype = std::get<1>(GetParam()),
             .head_dim = std::get<2>(GetParam()),
             .kv_heads = 2,
             .group = std::get<3>(GetParam())};
    device_ = device_of(std::get<0>(GetParam()), 2);
  }

  void expect_close(const std::vector<AttentionSequence>& sequences,
                    const ops::AttentionParams& params = {}) {
    AttentionBatch batch(case_, sequences);
    const std::vector<float> out = batch.attend(*device_, params);
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      const std::int64_t step = std::max<std::int64_t>(sequences[s].n_rows / 5, 1);
      for (std::int64_t i = 0; i < sequences[s].n_rows; i += step) {
        for (std::int64_t h = 0; h < case_.query_heads(); h += 1 + case_.query_heads() / 4)
          expect_row(batch, out, params, s, i, h);
      }
    }
  }

 private:
  void expect_row(const AttentionBatch& batch, const std::vector<float>& out,
                  const ops::AttentionParams& params, std::size_t s, std::int64_t i,
                  std::int64_t head) const {
    reference::AttentionRow row = batch.reference_row(s, i, head);
    row.window = static_cast<std::size_t>(params.window.value_or(0));
    row.soft_cap = params.soft_cap.value_or(0.0F);
    row.slope = params.alibi_slopes != nullptr ? params.alibi_slopes[head] : 0.0;
    const reference::AttentionResult expected = reference::attention(row);
    const std::int64_t first =
        ((batch.rows()[s].first_row + i) * case_.query_heads() + head) * case_.head_dim;
    for (std::size_t d = 0; d < expected.out.size(); ++d) {
      ASSERT_NEAR(out[static_cast<std::size_t>(first) + d], expected.out[d],
                  tolerance(case_, row, expected, d))
          << "sequence " << s << " row " << i << " head " << head << " dimension " << d;
    }
  }

 protected:
  AttentionCase case_;
  std::unique_ptr<Device> device_;
};

TEST_P(AttentionAgainstReference, AgreesAtLengthsAroundTheEdgesOfTiles) {
  std::vector<AttentionSequence> sequences;
  for (const std::int64_t n : {1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129}) {
    sequences.push_back({.length = n});
  }

  expect_close(sequences);
}

TEST_P(AttentionAgainstReference, AgreesForPromptsAndForWhatContinuesThem) {
  expect_close({{.length = 75, .n_rows = 75}, {.length = 140, .n_rows = 37}, {.length = 3}});
}

TEST_P(AttentionAgainstReference, AgreesInsideAWindow) {
  expect_close({{.length = 200, .n_rows = 150}, {.length = 20, .n_rows = 20}, {.length = 129}},
               {.window = 70});
}

TEST_P(AttentionAgainstReference, AgreesWithASoftCap) {
  expect_close({{.length = 80, .n_rows = 20}}, {.soft_cap = 1.5F});
}

TEST_P(AttentionAgainstReference, AgreesWithAlibi) {
  std::vector<float> slopes(16);
  for (std::size_t h = 0; h < 16; ++h) slopes[h] = std::exp2(-0.5F * static_cast<float>(h + 1));

  expect_close({{.length = 80, .n_rows = 20}}, {.alibi_slopes = slopes.data()});
}

std::string name_of_case(const testing::TestParamInfo<Parameters>& info) {
  const auto& [isa, dtype, dim, group] = info.param;
  return std::string(name_of(isa)) + "_" + std::string(name_of(dtype)) + "_dim" +
         std::to_string(dim) + "_group" + std::to_string(group);
}

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};

INSTANTIATE_TEST_SUITE_P(
    Sets, AttentionAgainstReference,
    testing::Combine(testing::Values(CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512),
                     testing::ValuesIn(kDTypes), testing::Values(64, 80), testing::Values(3)),
    name_of_case);
INSTANTIATE_TEST_SUITE_P(Groups, AttentionAgainstReference,
                         testing::Combine(testing::Values(best_cpu_isa()),
                                          testing::ValuesIn(kDTypes), testing::Values(16, 96),
                                          testing::Values(1, 4, 7, 8)),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Wide, AttentionAgainstReference,
                         testing::Combine(testing::Values(best_cpu_isa()),
                                          testing::ValuesIn(kDTypes), testing::Values(128, 256),
                                          testing::Values(2)),
                         name_of_case);

class LongAttention : public AttentionAgainstReference {};

TEST_P(LongAttention, AgreesAtLengthsAroundTheEdgesOfChunks) {
  std::vector<AttentionSequence> sequences;
  for (const std::int64_t n : {1023, 1024, 1025, 2047, 2048, 2049}) {
    sequences.push_back({.length = n});
  }
  sequences.push_back({.length = 1040, .n_rows = 30});

  expect_close(sequences);
  expect_close(sequences, {.window = 1000});
}

INSTANTIATE_TEST_SUITE_P(Sets, LongAttention,
                         testing::Combine(testing::Values(CpuIsa::kAvx2, CpuIsa::kAvx512),
                                          testing::ValuesIn(kDTypes), testing::Values(64),
                                          testing::Values(1)),
                         name_of_case);

}  // namespace
}  // namespace spate
