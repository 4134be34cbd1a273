// INT8 caches: the rows as the device writes them, and attention over them.
#include "spate/kernels/cuda/kv_quantize.cuh"
#include "tests/cuda/attention_work_check.h"

namespace spate::cuda_test {
namespace {

// What the writer and the reader of a cache agree on.
struct Rows {
  const float* x;  // [tokens][heads][32 * kEach]
  std::uint8_t* pages;
  const std::int32_t* page_of;  // [tokens]
  const std::int32_t* token_of;
  int heads;
  bool value;
};

// One block a token, one warp a head.
template <int kEach>
__global__ void write_rows(Rows rows) {
  constexpr int kPage = cuda::kStepBlockTokens;
  const std::int64_t token = blockIdx.x, lane = threadIdx.x & 31, head = threadIdx.x / 32;
  const std::int64_t block = cuda::kv_block_bytes(kPage, kEach * 32, 1, true);
  float x[kEach];
  for (int i = 0; i < kEach; i++)
    x[i] = rows.x[((token * rows.heads + head) * 32 + lane) * kEach + i];
  cuda::store_kv_int8<kEach>(rows.pages + (rows.page_of[token] * rows.heads + head) * block,
                             rows.token_of[token], rows.value, kPage, x);
}

// Stores `x` through the device and replaces it by what the cache then holds.
template <int kEach>
void store(Problem& problem, PagedCache& cache, std::vector<float>& x, bool value) {
  constexpr int kPage = cuda::kStepBlockTokens, kDim = 32 * kEach;
  std::vector<std::int32_t> page_of, token_of;
  for (std::size_t b = 0; b < cache.requests.size(); ++b) {
    for (std::int32_t j = 0; j < cache.requests[b].kv_len; ++j) {
      page_of.push_back(
          cache.table[static_cast<std::size_t>(cache.requests[b].kv_begin + j / kPage)]);
      token_of.push_back(j % kPage);
    }
  }
  const int heads = problem.spec.kv_heads;
  const DeviceArray<float> source(x);
  DeviceArray<std::uint8_t> pages(cache.pages);
  const DeviceArray<std::int32_t> pages_of(page_of), tokens_of(token_of);
  write_rows<kEach><<<static_cast<unsigned>(page_of.size()), static_cast<unsigned>(heads * 32)>>>(
      {source.data(), pages.data(), pages_of.data(), tokens_of.data(), heads, value});
  require(cudaDeviceSynchronize());
  cache.pages = pages.get();
  const std::uint32_t row = cuda::kv_row_bytes(kDim, 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t token = i / static_cast<std::size_t>(heads * kDim);
    const auto head = static_cast<std::int64_t>(i / kDim) % heads;
    const auto d = static_cast<std::uint32_t>(i % kDim);
    const std::uint8_t* block = cache.pages.data() + (page_of[token] * heads + head) *
                                                         cuda::kv_block_bytes(kPage, kDim, 1, true);
    __half scale;
    std::memcpy(&scale, block + cuda::kv_scale_offset(token_of[token], value, kPage, row), 2);
    const auto q = static_cast<std::int8_t>(
        block[(value ? kPage * row : 0) +
              cuda::kv_offset(static_cast<std::uint32_t>(token_of[token]), d / 16, row) + d % 16]);
    const float stored = static_cast<float>(q) * __half2float(scale);
    ASSERT_LE(std::abs(stored - x[i]), 0.5001f * __half2float(scale)) << "element " << i;
    x[i] = stored;
  }
}

template <int kDim>
void check_int8(WorkCheck check) {
  check.shape.head_dim = kDim;
  check.shape.cache = DType::kI8;
  check_work<__nv_bfloat16, std::int8_t>(check, [](Problem& problem) {
    // Tokens of very different sizes, as they come.
    for (std::size_t i = 0; i < problem.v.size(); ++i) {
      const std::size_t token = i / static_cast<std::size_t>(problem.spec.kv_heads * kDim);
      problem.v[i] *= token % 5 == 0 ? 0.001f : token % 7 == 0 ? 30.f : 1.f;
    }
    PagedCache cache = make_pages<std::int8_t>(
        problem, cuda::kStepBlockTokens, [](float, int, int) { return std::int8_t{-1}; }, true);
    store<kDim / 32>(problem, cache, problem.k, false);
    store<kDim / 32>(problem, cache, problem.v, true);
    return cache;
  });
}

ops::cuda::AttentionShape heads(std::int64_t q_heads, std::int64_t kv_heads) {
  ops::cuda::AttentionShape s;
  s.q_heads = q_heads;
  s.kv_heads = kv_heads;
  return s;
}
std::vector<Lengths> mixed_lengths() {
  return {{1, 1},    {129, 129}, {64, 300},  {17, 17}, {1, 700}, {16, 129},
          {5, 1025}, {1, 257},   {200, 640}, {1, 128}, {1, 2049}};
}

TEST(AttentionInt8, MatchesTheReferenceForEveryHeadDim) {
  check_int8<64>({mixed_lengths(), heads(8, 2)});
  check_int8<128>({mixed_lengths(), heads(4, 2)});
  check_int8<256>({mixed_lengths(), heads(4, 2)});
}

TEST(AttentionInt8, MatchesTheReferenceWithAWindow) {
  ops::cuda::AttentionShape shape = heads(6, 2);
  shape.window = 150;
  check_int8<128>({mixed_lengths(), shape});
}

TEST(AttentionInt8, MatchesTheReferenceInThePlainKernel) {
  ops::cuda::AttentionShape shape = heads(4, 2);
  shape.soft_cap = 20.f;
  check_int8<64>({mixed_lengths(), shape, true, 4});
}

}  // namespace
}  // namespace spate::cuda_test
