// A shared prefix (cascade attention): all requests' queries over the prefix's pages as prefill, in
// two halves side by side so that the tiles fill the GPU; each request's own keys as decode; then
// the three states are merged. Against decode over everything.
#include "bench/cuda/bench_data.h"
#include "spate/kernels/cuda/decode_sm90.cuh"
#include "spate/kernels/cuda/merge.cuh"
#include "spate/kernels/cuda/prefill_sm90.cuh"

namespace spate::bench {
namespace {

constexpr int kBatch = 256, kHeads = 32, kDim = 128, kPrefix = 32768, kOwn = 256, kPage = 128;
constexpr int kStates = 3;
constexpr std::int64_t kRows = std::int64_t{kBatch} * kHeads, kOut = kRows * kDim;

using Whole = cuda::PrefillVariant<__nv_bfloat16, kDim, cuda::Mask::kFull, cuda::KvLayout::kPages>;
using Own = cuda::DecodeVariant<__nv_bfloat16, kDim>;

struct CascadeBench {
  Arena arena;
  GraphTimer timer{4};
  cudaStream_t side = nullptr;
  cudaEvent_t fork = nullptr, join = nullptr;
  const __nv_bfloat16* q = arena.noise(kOut);
  __nv_bfloat16* states = arena.zeros<__nv_bfloat16>(kStates * kOut);
  float* lse = arena.zeros<float>(kStates * kRows);
  const __nv_bfloat16* pages =
      arena.noise(std::int64_t{kPrefix + kBatch * kOwn} * kHeads * 2 * kDim);

  CascadeBench() {
    require(cudaStreamCreate(&side));
    require(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    require(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  }

  cuda::PrefillParams prefix(int state) {
    const int pages_each = kPrefix / kPage / 2;
    std::vector<std::int32_t> table;
    for (int i = 0; i < pages_each; ++i) table.push_back(state * pages_each + i);
    cuda::PrefillPlanOptions o;
    o.q_heads = o.kv_heads = kHeads;
    const std::vector<cuda::AttentionRequest> request = {{0, kBatch, 0, kPrefix / 2}};
    const cuda::PrefillPlan plan = cuda::plan_prefill(request, o);
    cuda::PrefillParams p;
    p.q = q;
    p.out = states + state * kOut;
    p.lse = lse + state * kRows;
    p.q_token_stride = p.out_token_stride = kHeads * kDim;
    p.q_head_stride = p.out_head_stride = kDim;
    p.total_q = kBatch;
    p.q_heads = p.kv_heads = kHeads;
    p.scale = 1.f / std::sqrt(static_cast<float>(kDim));
    p.pages = pages;
    p.page_table = arena.copy(table);
    p.tiles = arena.copy(plan.tiles);
    p.n_tiles = static_cast<int>(plan.tiles.size());
    p.pack_shift = plan.pack_shift;
    p.counters = arena.zeros<std::uint32_t>(2);
    return p;
  }
  // Decode over each request's own keys, with the prefix before them if `flat`.
  cuda::DecodeParams decode(bool flat) {
    const int shared = kPrefix / kPage, own = kOwn / kPage, each = own + (flat ? shared : 0);
    std::vector<std::int32_t> table;
    std::vector<cuda::AttentionRequest> requests;
    for (int b = 0; b < kBatch; ++b) {
      requests.push_back({b, 1, b * each, each * kPage});
      for (int i = 0; i < each - own; ++i) table.push_back(i);
      for (int i = 0; i < own; ++i) table.push_back(shared + b * own + i);
    }
    cuda::DecodePlanOptions o;
    o.q_heads = o.kv_heads = kHeads;
    const cuda::DecodePlan plan = cuda::plan_decode(requests, o);
    cuda::DecodeParams p;
    p.q = q;
    p.out = states + (flat ? 0 : 2) * kOut;
    p.lse = lse + (flat ? 0 : 2) * kRows;
    p.q_token_stride = p.out_token_stride = kHeads * kDim;
    p.q_heads = p.kv_heads = kHeads;
    p.scale = 1.f / std::sqrt(static_cast<float>(kDim));
    p.pages = pages;
    p.page_table = arena.copy(table);
    p.shares = arena.copy(plan.shares);
    p.rows = arena.copy(plan.rows);
    p.grid = static_cast<int>(plan.shares.size());
    p.partial_out = arena.zeros<float>(plan.slots * Own::kColumns * kDim);
    p.partial_stats = arena.zeros<float2>(plan.slots * Own::kColumns);
    p.tickets = arena.zeros<std::uint32_t>(static_cast<std::int64_t>(plan.rows.size()) * kHeads);
    return p;
  }
  cudaError_t cascade(const cuda::PrefillParams (&halves)[2], const cuda::DecodeParams& own,
                      cudaStream_t stream) const {
    require(cudaEventRecord(fork, stream));
    require(cudaStreamWaitEvent(side, fork));
    require(cuda::launch_prefill<Whole>(halves[0], stream));
    require(cuda::launch_prefill<Whole>(halves[1], side));
    require(cudaEventRecord(join, side));
    require(cudaStreamWaitEvent(stream, join));
    require(cuda::launch_decode<Own>(own, stream));
    const cuda::MergeParams merge{states, lse, kRows, kDim, kStates, states, lse};
    return cuda::launch_merge<__nv_bfloat16>(merge, stream);
  }
};

}  // namespace

void bench_cascade() {
  CascadeBench bench;
  const cuda::PrefillParams halves[2] = {bench.prefix(0), bench.prefix(1)};
  const cuda::DecodeParams own = bench.decode(false), flat = bench.decode(true);
  bench.timer.add("cascade",
                  [&](int, cudaStream_t stream) { return bench.cascade(halves, own, stream); });
  bench.timer.add("own part alone",
                  [&](int, cudaStream_t stream) { return cuda::launch_decode<Own>(own, stream); });
  bench.timer.add("flat decode",
                  [&](int, cudaStream_t stream) { return cuda::launch_decode<Own>(flat, stream); });
  bench.timer.run(
      [](const std::string& name, double us) {
        std::printf("cascade: prefix %d, batch %d, own %d, %d/%d heads | %-14s %9.2f us\n", kPrefix,
                    kBatch, kOwn, kHeads, kHeads, name.c_str(), us);
      },
      3);
}

}  // namespace spate::bench
