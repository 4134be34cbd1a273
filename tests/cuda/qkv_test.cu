// The end of the QKV map against double precision: queries, and what the cache's image holds where
// the tables say. Errors: the norm multiplies roundings of 2^-24 by at most 16, the rotation adds
// two products of magnitudes that the reference knows.
#include <cmath>
#include <cstring>
#include <map>

#include "spate/kernels/cuda/qkv.cuh"
#include "tests/cuda/row_data.h"

namespace spate::cuda_test {
namespace {

struct Case {
  int q_heads, kv_heads, head_dim, rotary;
  RowType sums, queries, cache;
  bool bias = false, norms = false, scales = false;
};

constexpr int kBlocks = 12, kPositions = 400;
constexpr double kEps = 1e-6;

// Rows of three sequences: a long chunk across blocks, a single row, a chunk in the middle; one row
// of padding before the last.
struct Batch {
  std::vector<std::int32_t> positions, sequence, table_begin{0, 3, 5};
  std::vector<std::int32_t> block_table{7, 2, 9, 4, 11, 1, 0, 3, 10};
  Batch() {
    add(0, 120, 20);
    add(1, 255, 1);
    add(2, 380, 6);
    positions.push_back(-1);
    sequence.push_back(0);
    add(0, 260, 1);
  }
  void add(std::int32_t s, std::int32_t position, int n) {
    for (int i = 0; i < n; ++i) {
      positions.push_back(position + i);
      sequence.push_back(s);
    }
  }
  std::int64_t rows() const { return static_cast<std::int64_t>(positions.size()); }
  std::int64_t block(std::size_t row) const {
    const auto first = table_begin[static_cast<std::size_t>(sequence[row])];
    return block_table[static_cast<std::size_t>(first + positions[row] / 128)];
  }
};

struct Outcome {
  Bytes queries, cache;
};

class Qkv {
 public:
  explicit Qkv(const Case& c)
      : c_(c), heads_(c.q_heads + 2 * c.kv_heads), columns_(heads_ * c.head_dim) {
    head_bytes_ = cuda::kv_block_bytes(128, c.head_dim, cuda::row_type_bytes(c.cache),
                                       c.cache == RowType::kI8);
    x_ = random_values(batch_.rows() * columns_, 1, 2);
    bias_ = random_values(columns_, 2);
    query_norm_ = random_values(c.head_dim, 3);
    key_norm_ = random_values(c.head_dim, 4);
    for (int i = 0; i < c.kv_heads; ++i) {
      k_scale_.push_back(0.5f + 0.25f * static_cast<float>(i));
      v_scale_.push_back(0.01f + 0.03f * static_cast<float>(i));
    }
    for (int position = 0; position < kPositions; ++position) {
      for (int i = 0; i < c.rotary; ++i) {
        const int pair = i % (c.rotary / 2);
        const double angle = position * std::pow(1e4, -2.0 * pair / c.rotary);
        rope_.push_back(static_cast<float>(i < c.rotary / 2 ? std::cos(angle) : std::sin(angle)));
      }
    }
    rope_.push_back(0);
  }
  const Batch& batch() const { return batch_; }
  std::vector<float>& x() { return x_; }
  int columns() const { return columns_; }

  Outcome run() const {
    const DeviceArray<std::uint8_t> x(to_type(x_, c_.sums));
    const DeviceArray<float> bias(bias_), query_norm(query_norm_), key_norm(key_norm_),
        k_scale(k_scale_), v_scale(v_scale_), rope(rope_);
    const DeviceArray<std::int32_t> positions(batch_.positions), sequence(batch_.sequence),
        begin(batch_.table_begin), table(batch_.block_table);
    const DeviceArray<std::uint8_t> queries(query_elements() * width(c_.queries));
    const DeviceArray<std::uint8_t> cache(static_cast<std::size_t>(kBlocks * block_stride()));
    cuda::FinishQkvParams p;
    p.sums = x.data();
    p.sums_type = c_.sums;
    p.sums_stride = columns_;
    p.q_heads = c_.q_heads;
    p.kv_heads = c_.kv_heads;
    p.head_dim = c_.head_dim;
    if (c_.bias) p.bias = bias.data();
    if (c_.norms) p.query_norm = query_norm.data(), p.key_norm = key_norm.data();
    p.norm_eps = static_cast<float>(kEps);
    p.rope = rope.data();
    p.rotary_dim = c_.rotary;
    p.query_scale = kScale;
    p.queries = queries.data();
    p.queries_type = c_.queries;
    p.queries_stride = c_.q_heads * c_.head_dim;
    p.cache = cache.data() + kLayerOffset;
    p.block_stride = block_stride();
    p.head_stride = head_bytes_;
    p.cache_type = c_.cache;
    if (c_.scales) p.k_scale = k_scale.data(), p.v_scale = v_scale.data();
    p.tables.positions = positions.data();
    p.tables.sequence = sequence.data();
    p.tables.table_begin = begin.data();
    p.tables.block_table = table.data();
    p.rows = batch_.rows();
    p.dependent_launch = true;
    require(cuda::launch_finish_qkv(p, nullptr));
    require(cudaDeviceSynchronize());
    return {queries.get(), cache.get()};
  }

  // A head of a row, finished but for the query's scale; and its error.
  void reference(std::int64_t row, int head, std::vector<double>* v, std::vector<double>* e) const {
    const Bytes x = to_type(x_, c_.sums);
    const int dim = c_.head_dim;
    double squares = 0;
    for (int d = 0; d < dim; ++d) {
      const int column = head * dim + d;
      const double bias =
          c_.bias ? static_cast<double>(bias_[static_cast<std::size_t>(column)]) : 0;
      v->push_back(value_at(x, c_.sums, row * columns_ + column) + bias);
      squares += v->back() * v->back() / dim;
    }
    const bool query = head < c_.q_heads, value = head >= c_.q_heads + c_.kv_heads;
    const std::vector<float>& norm = query ? query_norm_ : key_norm_;
    for (int d = 0; d < dim; ++d) {
      double& y = (*v)[static_cast<std::size_t>(d)];
      if (c_.norms && !value)
        y *= static_cast<double>(norm[static_cast<std::size_t>(d)]) / std::sqrt(squares + kEps);
    }
    double most = 0;
    for (const double y : *v) most = std::max(most, std::abs(y));
    e->assign(v->size(), 24 * 0x1p-24 * most);
    if (!value) rotate(batch_.positions[static_cast<std::size_t>(row)], v);
  }
  void rotate(std::int32_t position, std::vector<double>* v) const {
    const int half = c_.rotary / 2;
    for (int i = 0; i < half; ++i) {
      const auto at = static_cast<std::size_t>(position * c_.rotary + i),
                 h = static_cast<std::size_t>(half);
      const auto cosine = static_cast<double>(rope_[at]), sine = static_cast<double>(rope_[at + h]);
      double &a = (*v)[static_cast<std::size_t>(i)], &b = (*v)[static_cast<std::size_t>(i) + h];
      const double rotated = a * cosine - b * sine;
      b = b * cosine + a * sine;
      a = rotated;
    }
  }

  void check_queries(const Outcome& run, std::int64_t row) const {
    for (int h = 0; h < c_.q_heads; ++h) {
      std::vector<double> want, error;
      if (batch_.positions[static_cast<std::size_t>(row)] < 0) {
        want.assign(static_cast<std::size_t>(c_.head_dim), 0);
        error = want;
      } else {
        reference(row, h, &want, &error);
      }
      for (double& x : want) x *= static_cast<double>(kScale);
      for (double& x : error) x *= static_cast<double>(kScale);
      const std::int64_t first = (row * c_.q_heads + h) * c_.head_dim;
      expect_row({&run.queries, c_.queries, first}, want, error);
    }
  }
  // Compares the row's keys and values and clears them in `cache` to poison, so that what else was
  // written remains.
  void take_cached(Bytes* cache, std::int64_t row) const {
    const auto r = static_cast<std::size_t>(row);
    if (batch_.positions[r] < 0) return;
    for (int h = 0; h < 2 * c_.kv_heads; ++h) {
      std::vector<double> want, error;
      reference(row, c_.q_heads + h, &want, &error);
      const bool value = h >= c_.kv_heads;
      const auto head = static_cast<std::size_t>(h % c_.kv_heads);
      const float given = !c_.scales ? 1.f : value ? v_scale_[head] : k_scale_[head];
      const bool int8 = c_.cache == RowType::kI8;
      const Bytes stored = take_head(cache, r, h);
      const float scale = int8 ? take_scale(cache, r, h, want) : given;
      for (int d = 0; d < c_.head_dim; ++d) {
        const auto i = static_cast<std::size_t>(d);
        const double got =
            int8 ? static_cast<std::int8_t>(stored[i]) : value_at(stored, c_.cache, d);
        check_stored(got, want[i] / static_cast<double>(scale),
                     error[i] / static_cast<double>(scale));
      }
    }
  }

 private:
  static constexpr float kScale = 0.1275f;
  static constexpr std::int64_t kLayerOffset = 1024;

  static std::size_t width(RowType type) {
    return static_cast<std::size_t>(cuda::row_type_bytes(type));
  }
  std::size_t query_elements() const {
    return static_cast<std::size_t>(batch_.rows() * c_.q_heads * c_.head_dim);
  }
  std::int64_t block_stride() const { return 2 * kLayerOffset + c_.kv_heads * head_bytes_; }

  void check_stored(double got, double want, double error) const {
    if (c_.cache == RowType::kI8) {
      EXPECT_LE(std::abs(got - want), 0.501 + 1.1 * error);
      return;
    }
    if (c_.cache == RowType::kE4M3) want = std::clamp(want, -448.0, 448.0);
    const double least = c_.cache == RowType::kE4M3 ? 0x1p-10 : 0;
    EXPECT_LE(std::abs(got - want),
              std::abs(want) * roundoff(c_.cache) * 1.001 + 1.1 * error + least);
  }
  Bytes take_head(Bytes* cache, std::size_t row, int h) const {
    const int bytes = cuda::row_type_bytes(c_.cache);
    const std::uint32_t row_bytes = cuda::kv_row_bytes(c_.head_dim, bytes);
    const std::int64_t base = kLayerOffset + batch_.block(row) * block_stride() +
                              h % c_.kv_heads * head_bytes_ +
                              (h >= c_.kv_heads ? std::int64_t{128} * row_bytes : 0);
    Bytes stored;
    for (int b = 0; b < c_.head_dim * bytes; ++b) {
      const auto at = static_cast<std::size_t>(
          base +
          cuda::kv_offset(static_cast<std::uint32_t>(batch_.positions[row] % 128),
                          static_cast<std::uint32_t>(b / 16), row_bytes) +
          b % 16);
      stored.push_back((*cache)[at]);
      (*cache)[at] = 0xFF;
    }
    return stored;
  }

  // The scale of an int8 row, which must be the least that holds it.
  float take_scale(Bytes* cache, std::size_t row, int h, const std::vector<double>& want) const {
    const std::int64_t base =
        kLayerOffset + batch_.block(row) * block_stride() + h % c_.kv_heads * head_bytes_;
    const auto at = static_cast<std::size_t>(
        base + cuda::kv_scale_offset(batch_.positions[row] % 128, h >= c_.kv_heads, 128,
                                     cuda::kv_row_bytes(c_.head_dim, 1)));
    __half scale;
    std::memcpy(&scale, cache->data() + at, sizeof(scale));
    (*cache)[at] = (*cache)[at + 1] = 0xFF;
    double most = 0;
    for (const double x : want) most = std::max(most, std::abs(x));
    EXPECT_NEAR(static_cast<double>(__half2float(scale)), most / 127, most / 127 * 0.002 + 1e-4);
    return __half2float(scale);
  }

  Case c_;
  Batch batch_;
  int heads_, columns_;
  std::int64_t head_bytes_;
  std::vector<float> x_, bias_, query_norm_, key_norm_, k_scale_, v_scale_, rope_;
};

class QkvTest : public testing::TestWithParam<Case> {};

TEST_P(QkvTest, QueriesAgreeWithDoublePrecisionAndPaddingIsZero) {
  const Qkv problem(GetParam());
  const Outcome run = problem.run();
  for (std::int64_t row = 0; row < problem.batch().rows(); ++row) problem.check_queries(run, row);
}

TEST_P(QkvTest, KeysAndValuesLieWhereTheTablesSayAndNothingElseIsWritten) {
  const Qkv problem(GetParam());
  Outcome run = problem.run();
  for (std::int64_t row = 0; row < problem.batch().rows(); ++row) {
    problem.take_cached(&run.cache, row);
  }
  EXPECT_EQ(run.cache, Bytes(run.cache.size(), 0xFF));
}

TEST_P(QkvTest, KeepsANanInItsHeadAndRow) {
  const Case& c = GetParam();
  Qkv problem(c);
  const Outcome clean = problem.run();
  problem.x()[static_cast<std::size_t>(3 * problem.columns())] = std::nanf("");
  const Outcome run = problem.run();
  EXPECT_EQ(run.cache, clean.cache);
  const std::int64_t head = std::int64_t{3} * c.q_heads * c.head_dim, end = head + c.head_dim;
  const auto n = static_cast<std::int64_t>(clean.queries.size()) / cuda::row_type_bytes(c.queries);
  EXPECT_EQ(slice(run.queries, c.queries, 0, head), slice(clean.queries, c.queries, 0, head));
  EXPECT_EQ(slice(run.queries, c.queries, end, n - end),
            slice(clean.queries, c.queries, end, n - end));
  EXPECT_TRUE(std::isnan(value_at(run.queries, c.queries, head)));
}

constexpr RowType kF32 = RowType::kF32, kBF16 = RowType::kBF16, kF16 = RowType::kF16,
                  kE4M3 = RowType::kE4M3, kI8 = RowType::kI8;
INSTANTIATE_TEST_SUITE_P(
    Shapes, QkvTest,
    testing::Values(
        Case{8, 2, 128, 128, kBF16, kBF16, kBF16},
        Case{8, 2, 128, 128, kF32, kBF16, kE4M3, true, true, true},
        Case{4, 2, 64, 64, kBF16, kF32, kF32, true},
        Case{3, 3, 64, 16, kF32, kBF16, kBF16, false, true}, Case{2, 1, 80, 32, kF32, kF32, kF32},
        Case{5, 1, 96, 96, kBF16, kBF16, kBF16, true}, Case{2, 2, 112, 0, kF32, kBF16, kBF16},
        Case{2, 1, 192, 192, kF32, kBF16, kBF16}, Case{8, 2, 128, 128, kF16, kF16, kF16, true},
        Case{2, 1, 192, 64, kF16, kF16, kF16, false, true},
        Case{2, 1, 80, 20, kF16, kF16, kF16, true, true},
        Case{2, 1, 256, 64, kBF16, kBF16, kE4M3, false, true},
        Case{2, 1, 80, 20, kF32, kBF16, kBF16, true, true}, Case{2, 2, 96, 24, kBF16, kF32, kF32},
        Case{3, 1, 37, 10, kF32, kF32, kE4M3, true, true, true},
        Case{2, 1, 48, 48, kF32, kF32, kF32}, Case{1, 1, 320, 64, kF32, kBF16, kBF16},
        Case{8, 2, 128, 128, kBF16, kBF16, kI8, true},
        Case{2, 2, 64, 64, kF32, kBF16, kI8, false, true}, Case{2, 1, 256, 64, kBF16, kBF16, kI8},
        Case{3, 1, 37, 10, kF32, kBF16, kI8, true, true}));

TEST(QkvEdges, BadSizesAreRefused) {
  cuda::FinishQkvParams p;
  p.rows = 1;
  p.rotary_dim = 130;
  EXPECT_EQ(cuda::launch_finish_qkv(p, nullptr), cudaErrorInvalidValue);
  p.rotary_dim = 63;
  EXPECT_EQ(cuda::launch_finish_qkv(p, nullptr), cudaErrorInvalidValue);
  p.rotary_dim = 0;
  p.head_dim = cuda::kLongestHead + 1;
  EXPECT_EQ(cuda::launch_finish_qkv(p, nullptr), cudaErrorInvalidValue);
}

TEST(QkvEdges, NoRowsAreNoWork) { EXPECT_EQ(cuda::launch_finish_qkv({}, nullptr), cudaSuccess); }

}  // namespace
}  // namespace spate::cuda_test
