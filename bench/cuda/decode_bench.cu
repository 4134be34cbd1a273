// Decode shapes: bf16 and FP8 caches, page sizes, fixed splits, dependent launches, and a kernel
// that only reads the same bytes through the same copies, which is the limit.
#include <memory>

#include "bench/cuda/bench_data.h"
#include "spate/kernels/cuda/decode_sm90.cuh"

namespace spate::bench {
namespace {

constexpr int kReadBytes = 65536, kReadStages = 3;

__global__ void read_only(const std::uint8_t* src, std::int64_t blocks) {
  extern __shared__ __align__(1024) std::uint8_t smem[];
  __shared__ std::uint64_t bars[kReadStages];
  const std::uint32_t base = cuda::smem_address(smem), full = cuda::smem_address(bars);
  if (threadIdx.x != 0) return;
  for (int i = 0; i < kReadStages; i++) cuda::mbar_init(full + 8 * i, 1);
  cuda::mbar_init_fence();
  const std::int64_t first = blocks * blockIdx.x / gridDim.x,
                     n = blocks * (blockIdx.x + 1) / gridDim.x - first;
  for (std::int64_t i = 0; i < n + kReadStages; i++) {
    const int stage = static_cast<int>(i % kReadStages);
    if (i >= kReadStages && i - kReadStages < n)
      cuda::mbar_wait(full + 8 * stage, (i / kReadStages - 1) & 1);
    if (i >= n) continue;
    cuda::mbar_expect_bytes(full + 8 * stage, kReadBytes);
    cuda::bulk_load(base + stage * kReadBytes, src + (first + i) * kReadBytes, kReadBytes,
                    full + 8 * stage, cuda::kEvictFirst);
  }
}

struct DecodeOptions {
  int page_tokens = 128;
  int split_tokens = 0;
  bool dependent = false;
  int segments = 0;  // runs of consecutive pages of a request; 0: pages in random order
};

// Page numbers of all requests; run r of request b is the (r * batch + b)-th of the pool, so that a
// request's runs lie far apart.
std::vector<std::int32_t> page_table(int batch, int per_request, int segments) {
  std::vector<std::int32_t> table(static_cast<std::size_t>(batch * per_request));
  if (segments == 0) {
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = static_cast<std::int32_t>((i * 7919) % table.size());
    return table;
  }
  std::int32_t number = 0;
  for (int r = 0; r < segments; ++r) {
    for (int b = 0; b < batch; ++b) {
      for (int i = per_request * r / segments; i < per_request * (r + 1) / segments; ++i)
        table[static_cast<std::size_t>(b * per_request + i)] = number++;
    }
  }
  return table;
}

struct DecodeBench {
  Shape s;
  Arena arena;
  GraphTimer timer;
  std::int64_t cache_bytes;  // bf16
  int copies;
  std::uint8_t *cache, *fp8_cache;  // [copies]
  cuda::DecodeParams p;  // scratch is everybody's: where it lies moves small launches by 5 %
  static constexpr std::int64_t kSlots = 16384;

  explicit DecodeBench(const Shape& shape) : s(shape), timer(s.batch * s.keys < 20000 ? 40 : 12) {
    const std::int64_t tokens = std::int64_t{s.batch} * ((s.keys + 255) / 256 * 256);
    cache_bytes = tokens * s.kv_heads * s.dim * 4;
    copies = static_cast<int>(std::max<std::int64_t>(
        2, std::min<std::int64_t>(40, (std::int64_t{400} << 20) / cache_bytes)));
    cache = reinterpret_cast<std::uint8_t*>(arena.noise(copies * cache_bytes / 2));
    fp8_cache = arena.fp8_noise(copies * int8_bytes());
    const std::int64_t rows = std::int64_t{s.batch} * s.q_heads;
    p.q = arena.noise(rows * s.dim);
    p.out = arena.zeros<__nv_bfloat16>(rows * s.dim);
    p.lse = arena.zeros<float>(rows);
    p.q_token_stride = p.out_token_stride = std::int64_t{s.q_heads} * s.dim;
    p.q_heads = s.q_heads;
    p.kv_heads = s.kv_heads;
    p.scale = 1.f / std::sqrt(static_cast<float>(s.dim));
    const std::vector<float> ones(static_cast<std::size_t>(s.kv_heads), 1.f);
    p.k_scale = p.v_scale = arena.copy(ones);
    p.partial_out = arena.zeros<float>(kSlots * 8 * s.dim);
    p.partial_stats = arena.zeros<float2>(kSlots * 8);
    p.tickets = arena.zeros<std::uint32_t>(std::int64_t{s.batch} * s.kv_heads);
  }

  std::int64_t int8_bytes() const { return cache_bytes / 2 / (2 * s.dim) * (2 * s.dim + 4); }
  template <class V>
  void add(const char* name, DecodeOptions options) {
    using C = cuda::DecodeKernel<V>;
    const int per_request = (s.keys + options.page_tokens - 1) / options.page_tokens;
    const std::vector<std::int32_t> table = page_table(s.batch, per_request, options.segments);
    std::vector<cuda::AttentionRequest> requests;
    for (int b = 0; b < s.batch; ++b) {
      requests.push_back({b, 1, b * per_request, s.keys_of(b), 0, table.data() + b * per_request});
    }
    cuda::DecodePlanOptions o;
    o.q_heads = s.q_heads;
    o.kv_heads = s.kv_heads;
    o.columns = C::kColumns;
    o.block_tokens = C::kBlockTokens;
    o.page_tokens = options.page_tokens;
    o.split_tokens = options.split_tokens;
    const cuda::DecodePlan plan = cuda::plan_decode(requests, o);
    cuda::DecodeParams mine = p;
    mine.page_table = arena.copy(table);
    mine.page_tokens = options.page_tokens;
    mine.shares = arena.copy(plan.shares);
    mine.rows = arena.copy(plan.rows);
    mine.grid = static_cast<int>(plan.shares.size());
    if (plan.slots > kSlots) {
      std::printf("%lld partial results, room for %lld\n", static_cast<long long>(plan.slots),
                  static_cast<long long>(kSlots));
      std::exit(1);
    }
    mine.dependent_launch = options.dependent;
    const std::uint8_t* base = V::kBytes ? fp8_cache : cache;
    // Scales of int8 caches are noise as well.
    const std::int64_t stride = V::kInt8 ? int8_bytes() : V::kBytes ? cache_bytes / 2 : cache_bytes;
    timer.add(name, [=, n = copies](int i, cudaStream_t stream) {
      cuda::DecodeParams mine_at = mine;
      mine_at.pages = base + i % n * stride;
      return cuda::launch_decode<V>(mine_at, stream);
    });
  }
  void add_read_only() {
    require(cudaFuncSetAttribute(read_only, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 kReadStages * kReadBytes));
    timer.add("read only", [this](int i, cudaStream_t stream) {
      read_only<<<132, 32, kReadStages * kReadBytes, stream>>>(
          cache + i % copies * cache_bytes, s.all_keys() * s.kv_heads * s.dim * 4 / kReadBytes);
      return cudaGetLastError();
    });
  }
};

}  // namespace

void bench_decode(int number, const Shape& s) {
  DecodeBench bench(s);
  using Bf16 = cuda::DecodeVariant<__nv_bfloat16, 128>;
  using Int8 = cuda::DecodeVariant<__nv_bfloat16, 128, cuda::KvFormat::kInt8>;
  using Fp8 = cuda::DecodeVariant<__nv_bfloat16, 128, cuda::KvFormat::kE4M3>;
  bench.add<Bf16>("bf16", {});
  bench.add<Bf16>("bf16 contiguous", {.segments = 1});
  bench.add<Bf16>("bf16 2 segments", {.segments = 2});
  bench.add<Bf16>("bf16 4 segments", {.segments = 4});
  if (s.keys > 16 * 128) bench.add<Bf16>("bf16 16 segments", {.segments = 16});
  bench.add<Bf16>("bf16 16 s. page 16", {.page_tokens = 16, .segments = 16});
  bench.add<Bf16>("bf16 page 64", {.page_tokens = 64});
  bench.add<Bf16>("bf16 page 16", {.page_tokens = 16});
  bench.add<Bf16>("bf16 split 512", {.split_tokens = 512});
  bench.add<Bf16>("bf16 split 1024", {.split_tokens = 1024});
  bench.add<Bf16>("bf16 dependent", {.dependent = true});
  bench.add<Fp8>("fp8", {});
  bench.add<Int8>("int8", {});
  bench.add<Fp8>("fp8 dependent", {.dependent = true});
  bench.add_read_only();
  const double bytes = 4.0 * static_cast<double>(s.all_keys()) * s.kv_heads * s.dim;
  bench.timer.run([&](const std::string& name, double us) {
    print_row(number, s, name.c_str(), us, name[0] == 'b' || name[0] == 'r' ? bytes : bytes / 2);
  });
}

}  // namespace spate::bench
