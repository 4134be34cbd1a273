#include <gtest/gtest.h>

#include "spate/kernels/cpu/kv_layout.h"
#include "tests/ops/linear_fixture.h"

namespace spate::ops_test {
namespace {

using kernels::cpu::KvFormat;
using kernels::cpu::KvLayout;
using ops::Activation;
using ops::QkvParams;

/// Value k of a packed row of n.
double packed_value(const Rows& rows, std::int64_t row, std::int64_t n, std::int64_t k) {
  const std::uint8_t* p = rows.values.row<std::uint8_t>(row);
  if (*rows.packed == RowFormat::kF32) return reference::stored_at<float>(p, k);
  if (*rows.packed == RowFormat::kBF16) return reference::stored_at<BF16>(p, k).to_float();
  return reference::packed_int8(p, n, k);
}

/// Largest |value| of the group of 32 around k.
double group_peak(const std::vector<double>& row, std::int64_t k) {
  double peak = 0;
  for (std::int64_t i = k / 32 * 32; i < k / 32 * 32 + 32; ++i) {
    peak = std::max(peak, std::fabs(row[static_cast<std::size_t>(i)]));
  }
  return peak;
}

double rounding_of(RowFormat format, const std::vector<double>& row, std::int64_t k) {
  const double arithmetic = 2e-6 * group_peak(row, k);
  if (format == RowFormat::kF32) return arithmetic;
  if (format == RowFormat::kBF16) return arithmetic + 0x1p-9 * group_peak(row, k) * 2;
  return arithmetic + 0.501 * group_peak(row, k) / 127;
}

double activation_of(Activation a, double x) {
  switch (a) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return std::max(0.0, x);
    default:
      return x / (1 + std::exp(-1.702 * x));
  }
}

class Activated : public testing::TestWithParam<RowFormat> {};

TEST_P(Activated, GatesPairsOfPanels) {
  constexpr std::int64_t kK = 96;
  constexpr std::int64_t kN = 64;
  TestMatrix gate(WeightFormat::kF32, kN, kK, 1);
  TestMatrix up(WeightFormat::kF32, kN, kK, 2);
  Matrix both(WeightFormat::kF32, DType::kF32, kK,
              interleaved(panels_of(gate.tensor()), panels_of(up.tensor())));
  TestDevice d(2);
  std::vector<float> x = random_floats(7 * kK, 3.0F, 3);
  const std::vector<float> g = product(d, x, gate.matrix(), kN);
  const std::vector<float> u = product(d, x, up.matrix(), kN);

  const Rows rows =
      ops::gated_matmul(*d.device, d.arena, rows_of(x, kK), both, Activation::kSilu, GetParam());

  for (std::int64_t r = 0; r < 7; ++r) {
    std::vector<double> expected(kN);
    for (std::size_t k = 0; k < kN; ++k) {
      const std::size_t i = static_cast<std::size_t>(r) * kN + k;
      expected[k] = activation_of(Activation::kSilu, g[i]) * u[i];
    }
    for (std::int64_t k = 0; k < kN; ++k) {
      EXPECT_NEAR(packed_value(rows, r, kN, k), expected[static_cast<std::size_t>(k)],
                  rounding_of(GetParam(), expected, k));
    }
  }
}

TEST_P(Activated, AppliesEveryActivation) {
  for (const Activation a : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                             Activation::kRelu, Activation::kQuickGelu}) {
    TestMatrix w(WeightFormat::kF32, 64, 32);
    std::vector<float> bias(64, 0.25F);
    TestDevice d(1);
    std::vector<float> x = random_floats(5 * 32, 8.0F, 3);
    w.matrix().set_bias(bias);
    const std::vector<float> sums = product(d, x, w.matrix(), 64);

    const Rows rows =
        ops::activated_matmul(*d.device, d.arena, rows_of(x, 32), w.matrix(), a, GetParam());

    for (std::int64_t r = 0; r < 5; ++r) {
      std::vector<double> expected(64);
      for (std::size_t k = 0; k < 64; ++k) {
        expected[k] = activation_of(a, sums[static_cast<std::size_t>(r) * 64 + k]);
      }
      for (std::int64_t k = 0; k < 64; ++k) {
        EXPECT_NEAR(packed_value(rows, r, 64, k), expected[static_cast<std::size_t>(k)],
                    rounding_of(GetParam(), expected, k))
            << static_cast<int>(a);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Activated,
                         testing::Values(RowFormat::kF32, RowFormat::kBF16, RowFormat::kInt8));

/// Normalizes in double precision.
std::vector<float> normalized_rows(const std::vector<float>& x, std::int64_t k,
                                   const NormParams& norm) {
  std::vector<float> y(x.size());
  for (std::size_t row = 0; row < x.size(); row += static_cast<std::size_t>(k)) {
    double mean = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) mean += x[row + i];
    mean = norm.kind == NormParams::Kind::kLayer ? mean / static_cast<double>(k) : 0;
    double square = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
      square += std::pow(x[row + i] - mean, 2);
    }
    const double scale = 1 / std::sqrt(square / static_cast<double>(k) + norm.eps);
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
      const double bias = norm.bias == nullptr ? 0 : norm.bias[i];
      y[row + i] = static_cast<float>((x[row + i] - mean) * scale * norm.weight[i] + bias);
    }
  }
  return y;
}

TEST(FusedNorm, IsTheNormThatRunsBeforeTheProduct) {
  for (const auto kind : {NormParams::Kind::kRms, NormParams::Kind::kLayer}) {
    constexpr std::int64_t kK = 77;
    TestMatrix w(WeightFormat::kF32, 32, kK);
    const std::vector<float> weight = random_floats(kK, 1.0F, 4);
    const std::vector<float> bias = random_floats(kK, 1.0F, 5);
    const NormParams norm{.kind = kind,
                          .weight = weight.data(),
                          .bias = kind == NormParams::Kind::kLayer ? bias.data() : nullptr,
                          .eps = 1e-5F};
    for (const std::int64_t n_rows : {1, 9}) {
      TestDevice d(2);
      std::vector<float> x = random_floats(n_rows * kK, 2.0F, 3);
      std::vector<float> y(static_cast<std::size_t>(n_rows) * 32);
      Rows rows = rows_of(x, kK);
      rows.norm = norm;

      ops::matmul(*d.device, d.arena, Tensor(y.data(), DType::kF32, {n_rows, 32}), rows,
                  w.matrix());

      std::vector<float> before = normalized_rows(x, kK, norm);
      const std::vector<float> expected = product(d, before, w.matrix(), 32);
      for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-5);
    }
  }
}

/// A layer with 3 query heads and 1 kv head, and two sequences in the cache.
struct Qkv {
  static constexpr std::int64_t kHidden = 64;
  static constexpr std::int64_t kHeads = 5;
  static constexpr std::int64_t kRows = 71;

  Qkv(DType cache, std::int64_t dim) : head_dim(dim) {
    weights = random_floats(kHeads * dim * kHidden, 0.1F, 8);
    matrix = std::make_unique<Matrix>(
        WeightFormat::kF32, DType::kF32, kHidden,
        head_panels_of(Tensor(weights.data(), DType::kF32, {kHeads * dim, kHidden}), dim));
    table = random_floats(100 * dim, 1.0F, 9);
    norm_weight = random_floats(dim, 1.0F, 10);
    norm = {.weight = norm_weight.data(), .eps = 1e-6F};
    layout = {.format = cache == DType::kI8    ? KvFormat::kInt8
                        : cache == DType::kF32 ? KvFormat::kF32
                                               : KvFormat::kBF16,
              .head_dim = dim};
    memory = Buffer::reserve_host(layout.head_bytes() * 4).value();
    layer = {.base = memory.data(),
             .block_stride = layout.head_bytes(),
             .head_bytes = layout.head_bytes(),
             .dtype = cache,
             .kv_heads = 1,
             .head_dim = dim};
    params = {.query_heads = 3,
              .kv_heads = 1,
              .head_dim = dim,
              .rope = {.cos_sin = table.data(), .rotary_dim = dim, .n_positions = 100},
              .query_norm = &norm,
              .key_norm = &norm,
              .query_scale = 0.5F};
  }
  /// Row 0 is a decode at position 5; the others are positions 20 ... of another sequence.
  std::vector<SequenceRows> sequences() const {
    return {{.first_row = 0, .n_rows = 1, .first_position = 5, .blocks = blocks_a},
            {.first_row = 1, .n_rows = kRows - 1, .first_position = 20, .blocks = blocks_b}};
  }
  static std::int64_t position(std::int64_t row) { return row == 0 ? 5 : 19 + row; }
  const std::byte* block(std::int64_t row) const {
    const auto& blocks = row == 0 ? blocks_a : blocks_b;
    return memory.data() +
           blocks[static_cast<std::size_t>(position(row) / 64)] * layer.block_stride;
  }
  /// What head h of row r should be, before the query's scale.
  std::vector<double> expected(const std::vector<float>& sums, std::int64_t r,
                               std::int64_t h) const {
    std::vector<float> x(static_cast<std::size_t>(head_dim));
    const auto padded = (head_dim + 31) / 32 * 32;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = sums[static_cast<std::size_t>(r * kHeads * padded + h * padded) + i];
    }
    if (h < 4) x = normalized_rows(x, head_dim, norm);
    std::vector<double> y(x.begin(), x.end());
    if (h == 4) return y;
    const std::size_t half = x.size() / 2;
    const float* cosines = table.data() + position(r) * head_dim;
    for (std::size_t i = 0; i < half; ++i) {
      const double c = cosines[i];
      const double s = cosines[half + i];
      y[i] = x[i] * c - x[half + i] * s;
      y[half + i] = x[half + i] * c + x[i] * s;
    }
    return y;
  }

  std::int64_t head_dim;
  std::vector<float> weights;
  std::unique_ptr<Matrix> matrix;
  std::vector<float> table;
  std::vector<float> norm_weight;
  NormParams norm;
  KvLayout layout;
  Buffer memory;
  KvLayer layer;
  QkvParams params;
  std::vector<std::int32_t> blocks_a{2};
  std::vector<std::int32_t> blocks_b{3, 0};
};

class ProjectQkv : public testing::TestWithParam<DType> {};

TEST_P(ProjectQkv, RotatesScalesAndAppends) {
  for (const std::int64_t dim : {64, 40}) {
    Qkv q(GetParam(), dim);
    TestDevice d(2);
    std::vector<float> x = random_floats(Qkv::kRows * Qkv::kHidden, 1.0F, 3);
    const std::vector<float> sums = product(d, x, *q.matrix, q.matrix->n_columns());
    const std::vector<SequenceRows> sequences = q.sequences();
    const Batch batch{.sequences = sequences};

    const Tensor queries = ops::project_qkv(*d.device, d.arena, rows_of(x, Qkv::kHidden), *q.matrix,
                                            q.params, {.layer = q.layer, .batch = batch});

    const bool wide = GetParam() == DType::kF32;
    ASSERT_EQ(queries.dtype(), wide ? DType::kF32 : DType::kBF16);
    const double relative = wide ? 1e-5 : GetParam() == DType::kI8 ? 0.01 : 0x1p-8;
    for (std::int64_t r = 0; r < Qkv::kRows; ++r) {
      for (std::int64_t h = 0; h < Qkv::kHeads; ++h) {
        const std::vector<double> y = q.expected(sums, r, h);
        double peak = 0;
        for (const double v : y) peak = std::max(peak, std::fabs(v));
        for (std::int64_t i = 0; i < dim; ++i) {
          const double e = y[static_cast<std::size_t>(i)];
          const std::int64_t at = (r * 3 + h) * dim + i;
          const std::int64_t token = Qkv::position(r) % 64;
          double found = 0;
          if (h < 3)
            found = 2.0 * (wide ? queries.as<float>()[at] : to_float(queries.as<BF16>()[at]));
          if (h == 3) found = key_at(q.layout, q.block(r), token, i);
          if (h == 4) found = value_at(q.layout, q.block(r), token, i);
          ASSERT_NEAR(found, e, relative * peak) << "row " << r << " head " << h << " at " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Caches, ProjectQkv,
                         testing::Values(DType::kF32, DType::kBF16, DType::kI8));

TEST(Embed, WidensTheRowsOfTheTable) {
  for (const WeightFormat f : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    TestMatrix table(f, 50, 37);
    TestDevice d(2);
    std::vector<TokenId> ids;
    for (int i = 0; i < 70; ++i) ids.push_back((i * 7) % 50);
    std::vector<float> out(70 * 37);

    ops::embed(*d.device, Tensor(out.data(), DType::kF32, {70, 37}), table.tensor(),
               {.token_ids = ids});

    table.pack();
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i], table.weight(ids[i / 37], static_cast<std::int64_t>(i % 37)));
    }
  }
}

TEST(GatherRows, CopiesTheRowsNamed) {
  TestDevice d(1);
  std::vector<float> x = {0, 1, 10, 11, 20, 21};
  std::vector<float> out(4);
  const std::int64_t rows[] = {2, 0};

  ops::gather_rows(*d.device, Tensor(out.data(), DType::kF32, {2, 2}),
                   Tensor(x.data(), DType::kF32, {3, 2}), {.logit_rows = rows});

  EXPECT_EQ(out, (std::vector<float>{20, 21, 0, 1}));
}

}  // namespace
}  // namespace spate::ops_test
