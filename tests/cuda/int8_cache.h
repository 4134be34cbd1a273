// INT8 caches, their rows as the device writes them.
#pragma once
#include "spate/kernels/cuda/kv_quantize.cuh"
#include "spate/kernels/cuda/step_tables.h"
#include "tests/cuda/attention_problem.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

// What the writer and the reader of a cache agree on.
struct Int8Rows {
  const float* x;  // [tokens][heads][32 * kEach]
  std::uint8_t* pages;
  const std::int32_t* page_of;  // [tokens]
  const std::int32_t* token_of;
  int heads;
  bool value;
};

// One block a token, one warp a head.
template <int kEach>
static __global__ void write_rows(Int8Rows rows) {
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
void store_int8(Problem& problem, PagedCache& cache, std::vector<float>& x, bool value) {
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

// A cache of the problem, whose keys and values become what the cache holds.
template <int kDim>
PagedCache int8_cache(Problem& problem) {
  // Tokens of very different sizes, as they come.
  for (std::size_t i = 0; i < problem.v.size(); ++i) {
    const std::size_t token = i / static_cast<std::size_t>(problem.spec.kv_heads * kDim);
    problem.v[i] *= token % 5 == 0 ? 0.001f : token % 7 == 0 ? 30.f : 1.f;
  }
  PagedCache cache = make_pages<std::int8_t>(
      problem, cuda::kStepBlockTokens, [](float, int, int) { return std::int8_t{-1}; }, true);
  store_int8<kDim / 32>(problem, cache, problem.k, false);
  store_int8<kDim / 32>(problem, cache, problem.v, true);
  return cache;
}

}  // namespace spate::cuda_test
