// Embedding, gathering of rows and copies of cache blocks: exact.
#include "spate/kernels/cuda/embed.cuh"
#include "spate/kernels/cuda/gather.cuh"
#include "spate/kernels/cuda/kv_copy.cuh"
#include "tests/cuda/row_data.h"

namespace spate::cuda_test {
namespace {

struct Table {
  RowType type;
  int hidden;
};
class EmbedTest : public testing::TestWithParam<Table> {};

TEST_P(EmbedTest, TakesKnownAndJustSampledTokensAndZeroesPadding) {
  const auto [type, hidden] = GetParam();
  constexpr int kVocab = 50;
  const Bytes table = to_type(random_values(kVocab * hidden, 1), type);
  const DeviceArray<std::uint8_t> device_table(table);
  // token 7, the token of slot 2, token 49, padding, an id out of range, the token of slot 0
  const DeviceArray<std::int32_t> ids(std::vector<std::int32_t>{7, -3, 49, 5, 50, -1});
  const DeviceArray<std::int32_t> positions(std::vector<std::int32_t>{0, 1, 2, -1, 3, 4});
  const DeviceArray<std::int32_t> sampled(std::vector<std::int32_t>{11, 12, 13});
  const std::vector<int> want{7, 13, 49, -1, -1, 11};
  const int stride = hidden + 8;
  const DeviceArray<float> out(static_cast<std::size_t>(6 * stride));
  cuda::EmbedParams p;
  p.table = device_table.data();
  p.table_type = type;
  p.vocab = kVocab;
  p.hidden = hidden;
  p.tables.token_ids = ids.data();
  p.tables.positions = positions.data();
  p.tables.sampled = sampled.data();
  p.out = out.data();
  p.out_stride = stride;
  p.rows = 6;
  p.dependent_launch = true;
  require(cuda::launch_embed(p, nullptr));
  const std::vector<float> got = out.get();
  for (int row = 0; row < 6; ++row) {
    for (int i = 0; i < hidden; ++i) {
      const int id = want[static_cast<std::size_t>(row)];
      const double expected = id < 0 ? 0 : value_at(table, type, id * hidden + i);
      ASSERT_EQ(static_cast<double>(got[static_cast<std::size_t>(row * stride + i)]), expected);
    }
    ASSERT_TRUE(std::isnan(got[static_cast<std::size_t>(row * stride + hidden)]));
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, EmbedTest,
                         testing::Values(Table{RowType::kBF16, 4096}, Table{RowType::kF16, 64},
                                         Table{RowType::kF32, 2056}, Table{RowType::kBF16, 3},
                                         Table{RowType::kF32, 289}, Table{RowType::kF16, 1023}));

TEST(Gather, CopiesTheRowsOfTheList) {
  for (const int n : {4096, 13}) {
    const std::vector<float> x = random_values(std::int64_t{20} * n, 1);
    const std::vector<std::int32_t> rows{19, 0, 0, 7};
    const DeviceArray<float> from(x), out(static_cast<std::size_t>(4 * n));
    const DeviceArray<std::int32_t> list(rows);
    cuda::GatherParams p;
    p.x = from.data();
    p.x_stride = p.out_stride = p.n_bytes = 4 * n;
    p.rows_of_x = list.data();
    p.out = out.data();
    p.rows = 4;
    p.dependent_launch = true;
    require(cuda::launch_gather(p, nullptr));
    const std::vector<float> got = out.get();
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i / static_cast<std::size_t>(n)]);
      ASSERT_EQ(got[i], x[row * static_cast<std::size_t>(n) + i % static_cast<std::size_t>(n)]);
    }
  }
}

TEST(KvCopyTest, CopiesTheFirstTokensOfBlocksInEveryLayerAndHead) {
  constexpr int kLayers = 3, kHeads = 2, kBlocks = 4;
  const std::uint32_t row_bytes = cuda::kv_row_bytes(80, 2);
  const std::int64_t head = cuda::kv_block_bytes(128, 80, 2), layer = kHeads * head;
  const std::int64_t block = kLayers * layer;
  Bytes before(static_cast<std::size_t>(kBlocks * block));
  std::mt19937 random(1);
  for (std::uint8_t& x : before) x = static_cast<std::uint8_t>(random());
  const DeviceArray<std::uint8_t> cache(before);
  const DeviceArray<cuda::KvCopy> copies(
      std::vector<cuda::KvCopy>{{0, 2, 128}, {1, 3, 13}, {3, 0, 128}});
  const DeviceArray<std::int32_t> n_copies(std::vector<std::int32_t>{2});
  cuda::KvCopyParams p;
  p.cache = cache.data();
  p.block_stride = block;
  p.layer_stride = layer;
  p.head_stride = head;
  p.half_bytes = head / 2;
  p.row_bytes = row_bytes;
  p.layers = kLayers;
  p.kv_heads = kHeads;
  p.copies = copies.data();
  p.n_copies = n_copies.data();
  p.max_copies = 3;
  p.dependent_launch = true;
  require(cuda::launch_kv_copy(p, nullptr));
  const Bytes after = cache.get();
  for (std::int64_t at = 0; at < block; ++at) {
    const auto i = static_cast<std::size_t>(at), b = static_cast<std::size_t>(block);
    const std::int64_t token = at % (head / 2) / (8 * row_bytes) * 8;  // first of its group
    ASSERT_EQ(after[i], before[i]);
    ASSERT_EQ(after[i + b], before[i + b]);
    ASSERT_EQ(after[i + 2 * b], before[i]);
    ASSERT_EQ(after[i + 3 * b], before[i + (token < 13 ? b : 3 * b)]);
  }
}

TEST(RowEdges, NoRowsAreNoWork) {
  EXPECT_EQ(cuda::launch_embed({}, nullptr), cudaSuccess);
  EXPECT_EQ(cuda::launch_gather({}, nullptr), cudaSuccess);
  EXPECT_EQ(cuda::launch_kv_copy({}, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace spate::cuda_test
