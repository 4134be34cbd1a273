// Attention's bits: a row's result depends on its own sequence up to its own position, and on
// nothing else.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "spate/kernels/cpu/panel.h"
#include "tests/ops/attention_fixture.h"
#include "tests/reference/panel.h"

namespace spate {
namespace {

using test::AttentionBatch;
using test::AttentionCase;
using test::AttentionSequence;
using test::device_of;

class AttentionBits : public testing::TestWithParam<DType> {
 protected:
  AttentionCase small() const { return {.dtype = GetParam(), .head_dim = 32, .group = 3}; }
  std::unique_ptr<Device> device_ = device_of(best_cpu_isa(), 2);
};

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i])) << "at " << i;
  }
}

const std::vector<AttentionSequence> kRagged = {{.length = 1100, .n_rows = 90},
                                                {.length = 64},
                                                {.length = 2100, .n_rows = 7},
                                                {.length = 33, .n_rows = 33},
                                                {.length = 1025}};

TEST_P(AttentionBits, AreThoseOfTheSequenceAlone) {
  AttentionBatch batch(small(), kRagged);
  const std::vector<float> together = batch.attend(*device_);

  std::vector<float> alone(together.size());
  for (const SequenceRows& s : batch.rows()) {
    const std::vector<float> one = batch.attend(*device_, {s});
    const auto row = static_cast<std::ptrdiff_t>(together.size()) / batch.n_rows();
    std::copy_n(one.begin() + s.first_row * row, s.n_rows * row, alone.begin() + s.first_row * row);
  }

  expect_same_bits(together, alone);
}

TEST_P(AttentionBits, DoNotDependOnHowAPromptIsCutIntoSteps) {
  AttentionBatch batch(small(), {{.length = 1090, .n_rows = 100}});
  const std::vector<float> at_once = batch.attend(*device_);

  for (const std::int64_t step : {1, 7, 64}) {
    std::vector<SequenceRows> pieces;
    const SequenceRows& whole = batch.rows()[0];
    for (std::int64_t i = 0; i < whole.n_rows; i += step) {
      pieces.push_back({.first_row = i,
                        .n_rows = std::min(step, whole.n_rows - i),
                        .first_position = whole.first_position + i,
                        .blocks = whole.blocks});
    }
    expect_same_bits(at_once, batch.attend(*device_, pieces));
  }
}

TEST_P(AttentionBits, DoNotDependOnTheNumberOfThreads) {
  AttentionBatch batch(small(), kRagged);
  AttentionBatch deep(small(), {{.length = 3000}});
  const auto one = device_of(best_cpu_isa(), 1);
  const std::vector<float> expected = batch.attend(*one);
  const std::vector<float> expected_deep = deep.attend(*one);

  for (const int threads : {2, 3, 4}) {
    const auto many = device_of(best_cpu_isa(), threads);
    expect_same_bits(expected, batch.attend(*many));
    expect_same_bits(expected_deep, deep.attend(*many));  // split by chunks
  }
}

TEST_P(AttentionBits, DoNotDependOnWhereTheBlocksLie) {
  AttentionBatch a(small(), kRagged, 1);
  AttentionBatch b(small(), kRagged, 2);

  expect_same_bits(a.attend(*device_), b.attend(*device_));
}

TEST_P(AttentionBits, AreTheSameInsideAWindowHoweverThePromptIsCut) {
  AttentionBatch batch(small(), {{.length = 1200, .n_rows = 150}});
  const ops::AttentionParams window{.window = 100};
  const std::vector<float> at_once = batch.attend(*device_, window);

  const SequenceRows& whole = batch.rows()[0];
  std::vector<SequenceRows> pieces;
  for (std::int64_t i = 0; i < whole.n_rows; ++i) {
    pieces.push_back({.first_row = i,
                      .n_rows = 1,
                      .first_position = whole.first_position + i,
                      .blocks = whole.blocks});
  }
  expect_same_bits(at_once, batch.attend(*device_, pieces, window));
}

TEST_P(AttentionBits, DoNotDependOnWhatLiesBeyondTheSequence) {
  AttentionBatch batch(small(), {{.length = 37, .n_rows = 5}});  // unused memory is 0xff: NaN
  const std::vector<float> expected = batch.attend(*device_);
  const std::vector<float> noise(32, 3.0F);

  for (const std::int64_t head : {0, 1}) {
    for (std::int64_t t = 37; t < 64; ++t) {
      std::byte* block = batch.block_of(0, t, head);
      kernels::cpu::append_keys(batch.layout(), block, t, 1, {noise.data(), 0});
      kernels::cpu::append_values(batch.layout(), block, t, 1, {noise.data(), 0});
    }
  }

  for (const float x : expected) ASSERT_TRUE(std::isfinite(x));
  expect_same_bits(expected, batch.attend(*device_));
}

TEST_P(AttentionBits, AreUntouchedByANaNInAnotherSequence) {
  const std::vector<AttentionSequence> two = {{.length = 70, .n_rows = 6},
                                              {.length = 70, .n_rows = 6}};
  AttentionBatch batch(small(), two);
  const std::vector<float> expected = batch.attend(*device_);
  const std::vector<float> nan(32, std::numeric_limits<float>::quiet_NaN());
  std::byte* block = batch.block_of(1, 40, 0);
  kernels::cpu::append_keys(batch.layout(), block, 40, 1, {nan.data(), 0});
  kernels::cpu::append_values(batch.layout(), block, 40, 1, {nan.data(), 0});

  const std::vector<float> out = batch.attend(*device_);

  const auto half = static_cast<std::ptrdiff_t>(out.size() / 2);
  expect_same_bits({expected.begin(), expected.begin() + half}, {out.begin(), out.begin() + half});
  EXPECT_TRUE(std::isnan(out[static_cast<std::size_t>(half)]));
}

/// The rows of a result from `begin` up to `end`.
std::vector<float> rows_of(const std::vector<float>& out, std::int64_t n_rows, std::int64_t begin,
                           std::int64_t end) {
  const auto row = static_cast<std::ptrdiff_t>(out.size()) / n_rows;
  return {out.begin() + begin * row, out.begin() + end * row};
}

// 0 x NaN is NaN: a probability of zero alone would not keep it out.
TEST_P(AttentionBits, AreUntouchedByANaNOfALaterToken) {
  for (const std::int64_t where : {90, 97, 127, 128, 133}) {
    AttentionBatch batch(small(), {{.length = 140, .n_rows = 60}});  // positions 80 to 139
    const std::vector<float> expected = batch.attend(*device_);
    const std::vector<float> nan(32, std::numeric_limits<float>::quiet_NaN());
    for (const std::int64_t head : {0, 1}) {
      std::byte* block = batch.block_of(0, where, head);
      kernels::cpu::append_keys(batch.layout(), block, where % 64, 1, {nan.data(), 0});
      kernels::cpu::append_values(batch.layout(), block, where % 64, 1, {nan.data(), 0});
    }

    const std::vector<float> out = batch.attend(*device_);

    expect_same_bits(rows_of(expected, 60, 0, where - 80), rows_of(out, 60, 0, where - 80));
    for (const float x : rows_of(out, 60, where - 80, 60)) EXPECT_TRUE(std::isnan(x));
  }
}

TEST_P(AttentionBits, AreUntouchedByAnInfinityOutsideTheWindow) {
  for (const std::int64_t where : {64, 75, 95}) {
    AttentionBatch batch(small(), {{.length = 140, .n_rows = 60}});
    const ops::AttentionParams window{.window = 20};
    const std::vector<float> expected = batch.attend(*device_, window);
    const std::vector<float> infinity(32, std::numeric_limits<float>::infinity());
    for (const std::int64_t head : {0, 1}) {
      std::byte* block = batch.block_of(0, where, head);
      kernels::cpu::append_values(batch.layout(), block, where % 64, 1, {infinity.data(), 0});
    }

    const std::vector<float> out = batch.attend(*device_, window);

    const std::int64_t first = std::max<std::int64_t>(where + 20 - 80, 0);  // that does not see it
    expect_same_bits(rows_of(expected, 60, first, 60), rows_of(out, 60, first, 60));
    const std::int64_t before = std::max<std::int64_t>(where - 80, 0);
    expect_same_bits(rows_of(expected, 60, 0, before), rows_of(out, 60, 0, before));
  }
}

TEST_P(AttentionBits, KeepTheMeanOfEqualScores) {
  AttentionCase c = small();
  c.query_size = 0.0F;
  AttentionBatch batch(c, {{.length = 100}});

  const std::vector<float> out = batch.attend(*device_);

  const reference::AttentionResult r = reference::attention(batch.reference_row(0, 0, 0));
  for (std::size_t d = 0; d < r.out.size(); ++d) EXPECT_NEAR(out[d], r.out[d], 0.01);
}

TEST_P(AttentionBits, LetOneScoreFarAboveTheRestWin) {
  AttentionBatch batch(small(), {{.length = 1300}});
  auto* queries = static_cast<std::byte*>(batch.queries().data());
  std::vector<float> key(32, 40.0F);
  for (int d = 0; d < 32; ++d) {
    if (GetParam() == DType::kBF16 || GetParam() == DType::kI8) {
      reinterpret_cast<BF16*>(queries)[d] = BF16::from_float(1.0F);
    } else {
      reinterpret_cast<float*>(queries)[d] = 1.0F;
    }
  }
  std::byte* block = batch.block_of(0, 1100, 0);
  kernels::cpu::append_keys(batch.layout(), block, 1100 % 64, 1, {key.data(), 0});

  const std::vector<float> out = batch.attend(*device_);

  for (int d = 0; d < 32; ++d) {
    const float value = kernels::cpu::value_at(batch.layout(), block, 1100 % 64, d);
    EXPECT_NEAR(out[static_cast<std::size_t>(d)], value, 0.01 * std::abs(value));
  }
}

TEST_P(AttentionBits, ArePackedForTheNextMatrix) {
  AttentionBatch batch(small(), {{.length = 70}});
  const std::vector<float> wide = batch.attend(*device_);

  const std::vector<std::byte> narrow = batch.packed_row(*device_, RowFormat::kBF16);
  const std::vector<std::byte> groups = batch.packed_row(*device_, RowFormat::kInt8);

  for (std::size_t i = 0; i < wide.size(); ++i) {
    ASSERT_EQ(reinterpret_cast<const BF16*>(narrow.data())[i].bits, BF16::from_float(wide[i]).bits);
    const auto* row = reinterpret_cast<const std::uint8_t*>(groups.data());
    const auto k = static_cast<std::int64_t>(i);
    const auto n = static_cast<std::int64_t>(wide.size());
    float peak = 0.0F;
    for (std::size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) {
      peak = std::max(peak, std::abs(wide[j]));
    }
    ASSERT_NEAR(reference::packed_int8(row, n, k), wide[i], 0.501F / 127.0F * peak);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, AttentionBits,
                         testing::Values(DType::kF32, DType::kF16, DType::kBF16, DType::kI8),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

TEST(AttentionSets, GiveTheSameBitsInEveryInstructionSet) {
  if (best_cpu_isa() == CpuIsa::kGeneric) GTEST_SKIP() << "this machine has one set only";
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8}) {
    SCOPED_TRACE(name_of(dtype));
    AttentionBatch batch({.dtype = dtype, .head_dim = 48, .group = 3}, kRagged);
    const std::vector<float> generic = batch.attend(*device_of(CpuIsa::kGeneric, 1));
    // bf16 in matrix registers has an order of its own.
    expect_same_bits(generic, batch.attend(*device_of(best_cpu_isa(), 2, false)));
  }
}

}  // namespace
}  // namespace spate
