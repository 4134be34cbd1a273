// Prefill shapes: the tuned kernel over strided keys and over pages, and other tunings of it.
#include "bench/cuda/bench_data.h"
#include "spate/kernels/cuda/prefill_sm90.cuh"

namespace spate::bench {
namespace {

using cuda::KvLayout;
using cuda::Mask;
template <int kDim, Mask kMask, KvLayout kLayout = KvLayout::kStrided>
using Variant = cuda::PrefillVariant<__nv_bfloat16, kDim, kMask, kLayout>;

template <Mask kMask, KvLayout kLayout = KvLayout::kStrided>
using Tall = cuda::PrefillVariant<__nv_bfloat16, 128, kMask, kLayout, cuda::Score::kPlain,
                                  cuda::KvFormat::kElement, true>;
template <cuda::KvFormat kFormat>
using Bytes = cuda::PrefillVariant<__nv_bfloat16, 128, Mask::kCausal, KvLayout::kPages,
                                   cuda::Score::kPlain, kFormat>;

template <class V, int kEvery>
struct Emulating : cuda::PrefillTuning<V> {
  static constexpr int kEmulate = kEvery;
};

struct PrefillBench {
  Shape s;
  Arena arena;
  GraphTimer timer;
  cuda::PrefillParams p;
  cuda::PrefillPacking packing = cuda::PrefillPacking::kNever;

  explicit PrefillBench(const Shape& shape) : s(shape) {
    const std::int64_t tokens = std::int64_t{s.batch} * s.queries,
                       kv_tokens = std::int64_t{s.batch} * s.keys;
    p.q = arena.noise(tokens * s.q_heads * s.dim);
    p.k = arena.noise(kv_tokens * s.kv_heads * s.dim);
    p.v = arena.noise(kv_tokens * s.kv_heads * s.dim);
    p.out = arena.zeros<__nv_bfloat16>(tokens * s.q_heads * s.dim);
    p.lse = arena.zeros<float>(tokens * s.q_heads);
    p.q_token_stride = p.out_token_stride = std::int64_t{s.q_heads} * s.dim;
    p.kv_token_stride = std::int64_t{s.kv_heads} * s.dim;
    p.q_head_stride = p.out_head_stride = p.kv_head_stride = s.dim;
    p.total_q = tokens;
    p.total_kv = kv_tokens;
    p.q_heads = s.q_heads;
    p.kv_heads = s.kv_heads;
    p.scale = 1.f / std::sqrt(static_cast<float>(s.dim));
    p.counters = arena.zeros<std::uint32_t>(2);
  }

  // page: tokens of one, where the layout has pages.
  template <class Config>
  void add(const char* name, int page = 128) {
    cuda::PrefillParams mine = p;
    const int pages = s.keys / page;
    std::vector<cuda::AttentionRequest> requests;
    for (int b = 0; b < s.batch; ++b) {
      requests.push_back(
          {b * s.queries, s.queries, Config::kImage ? b * pages : b * s.keys, s.keys, 0});
    }
    if (Config::kImage) {
      const std::int64_t elements = std::int64_t{s.batch} * s.keys * s.kv_heads * 2 * s.dim;
      mine.pages = Config::kConvert ? static_cast<const void*>(arena.fp8_noise(elements * 2))
                                    : arena.noise(elements);
      std::vector<std::int32_t> table(static_cast<std::size_t>(s.batch * pages));
      for (std::size_t i = 0; i < table.size(); ++i)
        table[i] = static_cast<std::int32_t>((i * 7919) % table.size());
      mine.page_table = arena.copy(table);
      mine.page_tokens = page;
    }
    cuda::PrefillPlanOptions o;
    o.q_heads = s.q_heads;
    o.kv_heads = s.kv_heads;
    o.tile_rows = Config::kTileRows;
    o.packing = packing;
    o.kv_token_bytes = 4 * s.dim;
    o.window.right = s.causal ? 0 : -1;
    const cuda::PrefillPlan plan = cuda::plan_prefill(requests, o);
    mine.tiles = arena.copy(plan.tiles);
    mine.n_tiles = static_cast<int>(plan.tiles.size());
    mine.pack_shift = plan.pack_shift;
    timer.add(name, [mine](int, cudaStream_t stream) {
      return cuda::launch_prefill_config<Config>(mine, stream);
    });
  }
  template <class V>
  void add_tuned(const char* name, int page = 128) {
    add<cuda::PrefillKernel<V>>(name, page);
  }
  template <class V, int kEvery>
  void add_emulating(const char* name) {
    add<cuda::PrefillConfig<V, Emulating<V, kEvery>>>(name);
  }
  void report(int number, double kept_up = 0) {
    const double heads =
        s.queries * static_cast<double>(s.q_heads) + s.keys * static_cast<double>(s.kv_heads);
    timer.run([&](const std::string& name, double us) {
      print_row(number, s, name.c_str(), us, 4.0 * s.batch * heads * s.dim);
    });
    if (kept_up == 0) return;
    timer.keep_up(kept_up, [&](const std::string& name, double us, double mj) {
      std::printf("   kept up: %-15s %9.2f us %9.3f mJ\n", name.c_str(), us, mj);
    });
  }
};

}  // namespace

void bench_page_sizes(int number, const Shape& s) {
  PrefillBench bench(s);
  bench.add_tuned<Variant<128, Mask::kCausal>>("strided, 128 rows");
  if (s.q_heads > s.kv_heads) bench.packing = cuda::PrefillPacking::kAlways;
  for (const int page : {128, 64, 16}) {
    const std::string name = "pages of " + std::to_string(page);
    bench.add_tuned<Variant<128, Mask::kCausal, KvLayout::kPages>>(name.c_str(), page);
    const std::string tall = name + ", tall";
    if (cuda::prefers_tall_tiles(s.q_heads / s.kv_heads))
      bench.add_tuned<Tall<Mask::kCausal, KvLayout::kPages>>(tall.c_str(), page);
  }
  bench.report(number);
}

void bench_prefill(int number, const Shape& s, double kept_up) {
  PrefillBench bench(s);
  if (s.dim == 128 && s.causal) {
    bench.add_tuned<Variant<128, Mask::kCausal>>("128 rows");
    if (s.q_heads > s.kv_heads) bench.packing = cuda::PrefillPacking::kAlways;
    bench.add_tuned<Tall<Mask::kCausal>>("tall");
    bench.add_tuned<Variant<128, Mask::kCausal, KvLayout::kPages>>("pages, 128 rows");
    bench.add_tuned<Tall<Mask::kCausal, KvLayout::kPages>>("pages, tall");
  } else if (s.dim == 128) {
    bench.add_tuned<Variant<128, Mask::kFull>>("128 rows");
    bench.add_tuned<Tall<Mask::kFull>>("tall");
  } else if (s.dim == 64) {
    bench.add_tuned<Variant<64, Mask::kCausal>>("tuned");
    bench.add_emulating<Variant<64, Mask::kCausal>, 8>("emulate 8");
  } else {
    bench.add_tuned<Variant<256, Mask::kCausal>>("tuned");
  }
  bench.report(number, kept_up);
  if (s.dim != 128 || !s.causal) return;
  PrefillBench bytes(s);  // apart: they leave the chip cool, and flatter what comes behind them
  if (s.q_heads > s.kv_heads) bytes.packing = cuda::PrefillPacking::kAlways;
  bytes.add_tuned<Bytes<cuda::KvFormat::kE4M3>>("fp8 pages");
  bytes.add_tuned<Bytes<cuda::KvFormat::kInt8>>("int8 pages");
  bytes.report(number, kept_up);
}

void bench_chosen(int number, const Shape& s) {
  PrefillBench bench(s);
  if (s.dim == 64) {
    bench.add_tuned<Variant<64, Mask::kCausal>>("chosen");
  } else if (s.dim == 256) {
    bench.add_tuned<Variant<256, Mask::kCausal>>("chosen");
  } else if (!s.causal) {
    bench.add_tuned<Tall<Mask::kFull>>("chosen");
  } else if (cuda::prefers_tall_tiles(s.q_heads / s.kv_heads)) {
    bench.packing = cuda::PrefillPacking::kAlways;
    bench.add_tuned<Tall<Mask::kCausal>>("chosen");
  } else {
    bench.add_tuned<Variant<128, Mask::kCausal>>("chosen");
  }
  bench.report(number);
}

}  // namespace spate::bench
