// The epilogue warps of decode: merge the consumers' results of a segment and write them out, away
// from the stream. Rows that were cut are merged by whoever finishes last, always in the same
// order.
#pragma once
#include "spate/kernels/cuda/decode_params.cuh"
#include "spate/kernels/cuda/softmax.cuh"

namespace spate::cuda {

template <class C>
struct DecodeEpilogue {
  static constexpr int kThreads = C::kEpilogueWarps * 32, kRowVectors = C::kHeadDim / 4;
  static constexpr int kVectors = C::kColumns * kRowVectors;  // float4 of a segment's result
  static constexpr int kMine = (kVectors + kThreads - 1) / kThreads;
  static constexpr int kBatch = 8;  // parts whose loads are in flight together
  static constexpr int kBarrier = 1;

  struct Partial {
    float4 o;
    float max, sum;
  };

  const DecodeParams& p;
  const DecodeShared<C>& s;
  const int heads, thread;
  DecodeRecord r;

  __device__ __forceinline__ DecodeEpilogue(const DecodeArguments& args,
                                            const DecodeShared<C>& shared, int index)
      : p(args.p), s(shared), heads(args.heads), thread(index) {}

  static __device__ __forceinline__ void add(float4& a, const float4& b, float f) {
    a.x += b.x * f;
    a.y += b.y * f;
    a.z += b.z * f;
    a.w += b.w * f;
  }
  // What maxima are measured from: the largest, or anything finite if there is none.
  static __device__ __forceinline__ float origin(float top) { return top == -kInfinity ? 0 : top; }

  // Vector v of the consumers' four results.
  __device__ __forceinline__ Partial merge_warps(int v) const {
    const int column = v / kRowVectors, vector = v % kRowVectors;
    Partial a{make_float4(0, 0, 0, 0), -kInfinity, 0};
#pragma unroll
    for (int k = 0; k < C::kWarps; k++) a.max = fmaxf(a.max, s.stats()[k * C::kColumns + column].x);
    const float from = origin(a.max);
#pragma unroll
    for (int k = 0; k < C::kWarps; k++) {
      const float2 stats = s.stats()[k * C::kColumns + column];
      const float* row = s.merge() + (k * C::kColumns + column) * C::kMergePitch;
      const float f = exp2_approx(stats.x - from);
      add(a.o, *reinterpret_cast<const float4*>(row + vector * 4), f);
      a.sum += stats.y * f;
    }
    return a;
  }
  // Vector v of all parts of a cut row: an online softmax over batches of parts.
  __device__ __forceinline__ Partial merge_parts(int v) const {
    const float2* stats =
        p.partial_stats + std::int64_t{r.first_slot} * C::kColumns + v / kRowVectors;
    const auto* parts =
        reinterpret_cast<const float4*>(p.partial_out) + std::int64_t{r.first_slot} * kVectors + v;
    Partial a{make_float4(0, 0, 0, 0), -kInfinity, 0};
#pragma unroll 1
    for (int left = r.parts(); left > 0; left -= kBatch) {
      float2 y[kBatch];
      float4 x[kBatch];
#pragma unroll
      for (int e = 0; e < kBatch; e++) {
        const bool valid = e < left;
        y[e] = valid ? __ldcg(stats + e * C::kColumns) : make_float2(-kInfinity, 0);
        x[e] = valid ? __ldcg(parts + e * kVectors) : make_float4(0, 0, 0, 0);
      }
      stats += kBatch * C::kColumns;
      parts += kBatch * kVectors;
      float top = a.max;
#pragma unroll
      for (int e = 0; e < kBatch; e++) top = fmaxf(top, y[e].x);
      const float from = origin(top), f = exp2_approx(a.max - from);
      a = {make_float4(a.o.x * f, a.o.y * f, a.o.z * f, a.o.w * f), top, a.sum * f};
#pragma unroll
      for (int e = 0; e < kBatch; e++) {
        const float g = exp2_approx(y[e].x - from);
        add(a.o, x[e], g);
        a.sum += y[e].y * g;
      }
    }
    return a;
  }

  __device__ __forceinline__ void store(int v, const Partial& a) const {
    using T = typename C::T;
    const int column = v / kRowVectors, vector = v % kRowVectors;
    const int ahead = r.q_len() == 1 ? 0 : column / heads;
    const std::int64_t token = r.q_token + ahead;
    const int head = r.kv_head * heads + column - ahead * heads;
    const bool scaled = C::kFormat == KvFormat::kE4M3 && p.v_scale != nullptr;
    const float scale = scaled ? p.v_scale[r.kv_head] : 1.f / C::kValueShift;
    const float inv = a.sum > 0 ? scale / a.sum : 0;
    T* row = static_cast<T*>(p.out) + token * p.out_token_stride + std::int64_t{head} * C::kHeadDim;
    *reinterpret_cast<uint2*>(row + vector * 4) = make_uint2(
        Element<T>::pack(a.o.x * inv, a.o.y * inv), Element<T>::pack(a.o.z * inv, a.o.w * inv));
    if (vector == 0 && p.lse != nullptr)
      p.lse[token * p.q_heads + head] = log_sum_exp(a.max, a.sum);
  }
  __device__ __forceinline__ void store_partial(int v, const Partial& a) const {
    __stcg(reinterpret_cast<float4*>(p.partial_out) + std::int64_t{r.slot} * kVectors + v, a.o);
    if (v % kRowVectors == 0) {
      __stcg(p.partial_stats + std::int64_t{r.slot} * C::kColumns + v / kRowVectors,
             make_float2(a.max, a.sum));
    }
  }
  // True for the block that finishes the row's last part.
  __device__ __forceinline__ bool last_of_row() const {
    barrier_sync(kBarrier, kThreads);
    if (thread == 0) {
      const std::uint32_t before = atomic_add_acq_rel(p.tickets + r.ticket, 1);
      if (static_cast<int>(before) == r.parts() - 1) p.tickets[r.ticket] = 0;
      *s.arrived() = before;
    }
    barrier_sync(kBarrier, kThreads);
    return static_cast<int>(*s.arrived()) == r.parts() - 1;
  }

  __device__ __forceinline__ void run() {
    const std::uint32_t zero = static_cast<std::uint32_t>(p.page_tokens) >> 30;
    for (std::uint32_t parity = 0;; parity ^= 1) {
      mbar_wait(s.merge_full, parity);
      r = s.record(C::kStages);
      if ((r.flags & DecodeRecord::kStop) != 0) break;
      const int count = r.q_len() * heads * kRowVectors;
      Partial a[kMine];
      float seen = 0;
#pragma unroll
      for (int i = 0; i < kMine; i++) {
        if (i * kThreads >= count) break;
        a[i] = merge_warps(min(thread + i * kThreads, count - 1));
        seen += a[i].o.x + a[i].o.y + a[i].o.z + a[i].o.w + a[i].sum;
      }
      // As for the ring: the arrive must not overtake the loads.
      mbar_arrive(s.merge_empty + (__float_as_uint(seen) & zero));
#pragma unroll
      for (int i = 0; i < kMine; i++) {
        const int v = thread + i * kThreads;
        if (v >= count) break;
        if (r.slot < 0)
          store(v, a[i]);
        else
          store_partial(v, a[i]);
      }
      if (r.slot < 0 || !last_of_row()) continue;
#pragma unroll 1  // a small kernel's time is in fetching its code
      for (int v = thread; v < count; v += kThreads) store(v, merge_parts(v));
    }
  }
};

}  // namespace spate::cuda
