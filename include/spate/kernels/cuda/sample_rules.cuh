// What the device knows about a request's sampling: its rules, its random key, and which tokens it
// has seen. The meaning of each rule is that of spate/sampling.h; the arithmetic of the edits is
// the CPU's to the bit.
#pragma once
#include <cstdint>

#include "spate/kernels/cuda/row_values.cuh"

namespace spate::cuda {

// Why a row has no token.
enum SampleError : std::int32_t {
  kSampled = 0,
  kNotFinite = 1,    // a logit is NaN or +inf
  kNoTokenLeft = 2,  // all logits are -inf
};

// The rules of a slot. Changes with the slot's request.
struct SlotRules {
  std::uint64_t seed = 0;
  std::uint32_t sequence = 0;      // which of the request's completions
  float inverse_temperature = 0;   // 0: greedy
  std::int32_t top_k = 0;          // 0: off
  float top_p = 1;                 // 1: off
  float min_p = 0;                 // 0: off
  float repetition = 1;            // divides or multiplies logits of tokens seen
  float presence = 0;              // subtracted from logits of tokens of the output
  float frequency = 0;             // the same, times their count
  std::int64_t min_tokens = 0;     // until then tokens marked kEnding are masked
  std::int32_t has_marks = 0;      // reads the slot's marks
  std::int32_t wants_logprob = 0;  // of the chosen token
};

// Marks of a token in a slot: how often it is in the output (the low bits, saturating), and flags.
using TokenMark = std::uint16_t;
inline constexpr TokenMark kInPrompt = 0x8000, kEnding = 0x4000, kBanned = 0x2000,
                           kMostOutputs = 0x1fff;

// What of a slot's rules applies to one row.
struct RowRules {
  SlotRules rules;
  std::int64_t outputs = 0;          // tokens of the output so far
  const TokenMark* marks = nullptr;  // [vocab]; null: no token is marked
};

// Rounded after each operation, as on the CPU.
__device__ __forceinline__ float edited_logit(const RowRules& r, TokenMark mark, float x) {
  if (mark == 0) return x;
  const bool ended = (mark & kEnding) != 0 && r.outputs < r.rules.min_tokens;
  if ((mark & kBanned) != 0 || ended) return -kInfinity;
  const int count = mark & kMostOutputs;
  if (count > 0 || (mark & kInPrompt) != 0) {
    x = x > 0 ? __fdiv_rn(x, r.rules.repetition) : __fmul_rn(x, r.rules.repetition);
  }
  if (count > 0) {
    x = __fsub_rn(x, r.rules.presence);
    x = __fsub_rn(x, __fmul_rn(r.rules.frequency, static_cast<float>(count)));
  }
  return x;
}

// The weight of a logit relative to the largest: exp((x - max) / temperature). Error: 2^-22 per
// unit of the exponent, and 2^-22.
struct Weigher {
  float max;
  float factor;  // log2(e) / temperature
  __device__ __forceinline__ float operator()(float x) const {
    return exp2_approx(__fmul_rn(__fsub_rn(x, max), factor));
  }
};

// ---- ranks: greater is the greater logit, of equals the lower id

__device__ __forceinline__ std::uint64_t logit_rank(float x, int id) {
  const std::uint32_t bits = __float_as_uint(x + 0.f);  // -0 becomes 0
  const std::uint32_t ordered = bits ^ (static_cast<std::int32_t>(bits) < 0 ? ~0u : 0x80000000u);
  return std::uint64_t{ordered} << 32 | ~static_cast<std::uint32_t>(id);
}
__device__ __forceinline__ int rank_id(std::uint64_t rank) {
  return static_cast<int>(~static_cast<std::uint32_t>(rank));
}
__device__ __forceinline__ float rank_logit(std::uint64_t rank) {
  const auto ordered = static_cast<std::uint32_t>(rank >> 32);
  return __uint_as_float(ordered ^ ((ordered & 0x80000000u) != 0 ? 0x80000000u : ~0u));
}
inline constexpr std::uint64_t kNotFiniteRank = ~std::uint64_t{0};
inline constexpr std::uint64_t kMinusInfinityRank = std::uint64_t{0x007fffff} << 32 | 0xffffffffu;

__device__ __forceinline__ std::int32_t error_of_rank(std::uint64_t best) {
  if (best == kNotFiniteRank) return kNotFinite;
  return best <= kMinusInfinityRank ? kNoTokenLeft : kSampled;
}

// ---- random numbers: Philox4x32-10 (Salmon et al., 2011), as sample/rng.h

__device__ __forceinline__ double uniform_number(std::uint64_t seed, std::uint32_t sequence,
                                                 std::int64_t position) {
  std::uint32_t c0 = static_cast<std::uint32_t>(position),
                c1 = static_cast<std::uint32_t>(static_cast<std::uint64_t>(position) >> 32),
                c2 = sequence, c3 = 0;
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(b);
    c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return static_cast<double>((std::uint64_t{c0} << 21) ^ (c1 >> 11)) * 0x1p-53;
}

}  // namespace spate::cuda
