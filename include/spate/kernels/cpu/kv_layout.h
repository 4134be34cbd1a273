// Where a key or a value lies inside one block (64 tokens, one kv head) of the cache on the CPU,
// and how rows get in and out. Keys and values are panels of 32 columns, as weights are, so
// attention is the GEMM's micro-kernel: keys have tokens as columns, values have dimensions as
// columns.
//
//   keys    [2 halves][head_dim / g][32 tokens][g]          g = 1 (f32, f16), 2 (bf16), 4 (int8)
//   values  [padded_dim / 32][64 / g][32 dimensions][g]
//   int8 only: f32 key_scale[64], f32 value_scale[64]; keys are stored as q + 128
//
// Memory beyond a sequence's length may hold anything (also NaN): readers never let it into a
// result, so a partial block is copied as a whole (memcpy of head_bytes()).
// Plain C++ with internal linkage: safe in a unit of any instruction set, with the same bits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace spate::kernels::cpu {

inline constexpr std::int64_t kKvTokens = 64;  // tokens in a block
inline constexpr std::int64_t kKvHalf = 32;    // tokens in a key panel, dimensions in a value panel
inline constexpr std::int64_t kMaxHeadDim = 256;

enum class KvFormat : std::uint8_t { kF32, kF16, kBF16, kInt8 };

/// head_dim: a multiple of 4, at most kMaxHeadDim.
struct KvLayout {
  KvFormat format = KvFormat::kBF16;
  std::int64_t head_dim = 0;

  /// Tokens (values) or dimensions (keys) that lie next to each other in a panel.
  [[gnu::always_inline]] constexpr std::int64_t interleave() const {
    return format == KvFormat::kInt8 ? 4 : format == KvFormat::kBF16 ? 2 : 1;
  }
  [[gnu::always_inline]] constexpr std::int64_t element_bytes() const {
    return format == KvFormat::kInt8 ? 1 : format == KvFormat::kF32 ? 4 : 2;
  }
  /// Columns of the value panels; those from head_dim on are undefined.
  [[gnu::always_inline]] constexpr std::int64_t padded_dim() const {
    return (head_dim + 31) / 32 * 32;
  }
  /// Keys of 32 tokens.
  [[gnu::always_inline]] constexpr std::int64_t key_panel_bytes() const {
    return kKvHalf * head_dim * element_bytes();
  }
  /// 32 dimensions of the values of 64 tokens.
  [[gnu::always_inline]] constexpr std::int64_t value_panel_bytes() const {
    return kKvHalf * kKvTokens * element_bytes();
  }
  [[gnu::always_inline]] constexpr std::int64_t value_offset() const {
    return 2 * key_panel_bytes();
  }
  [[gnu::always_inline]] constexpr std::int64_t key_scale_offset() const {
    return value_offset() + padded_dim() / 32 * value_panel_bytes();
  }
  [[gnu::always_inline]] constexpr std::int64_t value_scale_offset() const {
    return key_scale_offset() + kKvTokens * 4;
  }
  /// One head's keys and values in one block: a multiple of 64.
  [[gnu::always_inline]] constexpr std::int64_t head_bytes() const {
    return format == KvFormat::kInt8 ? value_scale_offset() + kKvTokens * 4 : key_scale_offset();
  }
};

/// Rows of f32: n tokens of head_dim values, `stride` floats apart.
struct KvRows {
  const float* data = nullptr;
  std::int64_t stride = 0;
};

namespace kv_detail {

/// Round to nearest even; NaN stays NaN. In the upper half: the lower one is garbage to mask off.
[[gnu::always_inline]] inline std::uint32_t rounded_bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = u + 0x7fffU + ((u >> 16) & 1U);
  return (u & 0x7fffffffU) > 0x7f800000U ? u | 0x400000U : rounded;
}
[[gnu::always_inline]] inline float widened_bf16(std::uint16_t h) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16);
}
/// IEEE binary16, nearest even, except that what overflows becomes the largest finite number: an
/// outlier among the values should not turn into infinity.
[[gnu::always_inline]] inline std::uint16_t to_f16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (u >> 16) & 0x8000U;
  const std::uint32_t a = u & 0x7fffffffU;
  // The sum with a power of two lets the adder round denormals; normals round by the carry.
  const float shifted = std::bit_cast<float>(a) + 0.5F;
  const std::uint32_t denormal = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U;
  const std::uint32_t normal = (a - 0x38000000U + 0xfffU + ((a >> 13) & 1U)) >> 13;
  std::uint32_t h = a < 0x38800000U ? denormal : normal;
  h = a >= 0x477ff000U ? 0x7bffU : h;
  h = a > 0x7f800000U ? 0x7e00U : h;
  return static_cast<std::uint16_t>(sign | h);
}
[[gnu::always_inline]] inline float widened_f16(std::uint16_t h) {
  const std::uint32_t sign = (h & 0x8000U) << 16;
  const std::uint32_t bits = (h & 0x7fffU) << 13;
  // Exponent moved by a multiplication, which also normalizes denormals.
  const float x = std::bit_cast<float>(bits) * 0x1p112F;
  const std::uint32_t inf_or_nan = bits | 0x7f800000U;
  const std::uint32_t finite = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>(sign | ((h & 0x7c00U) == 0x7c00U ? inf_or_nan : finite));
}

/// Scale of one int8 row and its inverse. NaN and infinity survive in the scale.
struct Int8Scale {
  float scale = 0.0F;
  float inverse = 0.0F;
};
static inline Int8Scale int8_scale(const float* x, std::int64_t n) {
  std::uint32_t peak_bits = 0;  // as integers, magnitudes are ordered and NaN is largest
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t a = std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffU;
    peak_bits = a > peak_bits ? a : peak_bits;
  }
  const auto peak = std::bit_cast<float>(peak_bits);
  if (peak < 1e-30F) return {};  // 127 / peak would overflow
  return {peak / 127.0F, 127.0F / peak};
}
/// Nearest even, by the adder; in [-127, 127] because |x| * inverse <= 127 (1 + 2^-23).
[[gnu::always_inline]] inline std::int32_t to_int8(float x, float inverse) {
  const float magic = x * inverse + 12582912.0F;
  return static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(magic) - 0x4b400000U);
}

/// Four values of a key, offset by 128.
[[gnu::always_inline]] inline std::uint32_t int8_word(const float* x, float inverse) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) {
    word |= static_cast<std::uint32_t>(to_int8(x[i], inverse) + 128) << (8 * i);
  }
  return word;
}

/// One row as the 32-bit words of a key panel's column (16-bit for f16).
static inline void key_words(KvFormat format, const float* x, std::int64_t dim, float inverse,
                             std::uint32_t* words) {
  switch (format) {
    case KvFormat::kF32:
      for (std::int64_t d = 0; d < dim; ++d) words[d] = std::bit_cast<std::uint32_t>(x[d]);
      return;
    case KvFormat::kF16:
      for (std::int64_t d = 0; d < dim; ++d) words[d] = to_f16(x[d]);
      return;
    case KvFormat::kBF16:
      for (std::int64_t d = 0; d < dim / 2; ++d) {
        words[d] = (rounded_bf16(x[2 * d]) >> 16) | (rounded_bf16(x[2 * d + 1]) & 0xffff0000U);
      }
      return;
    case KvFormat::kInt8:
      for (std::int64_t d = 0; d < dim / 4; ++d) words[d] = int8_word(x + 4 * d, inverse);
      return;
  }
}

inline constexpr std::int64_t kRun = 16;  // tokens transposed together: a line of words

/// words[n][kMaxHeadDim] into columns token .. token + n - 1 of a key panel.
template <class Word>
static inline void scatter_words(const std::uint32_t (*words)[kMaxHeadDim], std::int64_t n_words,
                                 std::int64_t n, Word* panel) {
  if (n == kRun) {  // a whole line per word
    for (std::int64_t w = 0; w < n_words; ++w) {
      for (std::int64_t t = 0; t < kRun; ++t)
        panel[w * kKvHalf + t] = static_cast<Word>(words[t][w]);
    }
    return;
  }
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t w = 0; w < n_words; ++w) {
      panel[w * kKvHalf + t] = static_cast<Word>(words[t][w]);
    }
  }
}

/// Up to kRun tokens that do not cross a multiple of kRun.
static inline void append_key_run(const KvLayout& kv, std::byte* block, std::int64_t token,
                                  std::int64_t n, KvRows rows) {
  std::uint32_t words[kRun][kMaxHeadDim];
  auto* scales = reinterpret_cast<float*>(block + kv.key_scale_offset());
  for (std::int64_t t = 0; t < n; ++t) {
    const float* x = rows.data + t * rows.stride;
    Int8Scale s;
    if (kv.format == KvFormat::kInt8) {
      s = int8_scale(x, kv.head_dim);
      scales[token + t] = s.scale;
    }
    key_words(kv.format, x, kv.head_dim, s.inverse, words[t]);
  }
  std::byte* panel = block + token / kKvHalf * kv.key_panel_bytes();
  const std::int64_t column = token % kKvHalf;
  const std::int64_t n_words = kv.head_dim / kv.interleave();
  if (kv.format == KvFormat::kF16) {
    scatter_words(words, n_words, n, reinterpret_cast<std::uint16_t*>(panel) + column);
  } else {
    scatter_words(words, n_words, n, reinterpret_cast<std::uint32_t*>(panel) + column);
  }
}

/// Both tokens of a bf16 pair at once: 32-bit stores.
static inline void append_value_pair(const KvLayout& kv, std::byte* block, std::int64_t token,
                                     const float* even, const float* odd) {
  for (std::int64_t p = 0; p < kv.head_dim; p += kKvHalf) {
    auto* words = reinterpret_cast<std::uint32_t*>(block + kv.value_offset() +
                                                   p / kKvHalf * kv.value_panel_bytes()) +
                  token / 2 * kKvHalf;
    const std::int64_t n = kv.head_dim - p < kKvHalf ? kv.head_dim - p : kKvHalf;
    for (std::int64_t d = 0; d < n; ++d) {
      words[d] = (rounded_bf16(even[p + d]) >> 16) | (rounded_bf16(odd[p + d]) & 0xffff0000U);
    }
  }
}

[[gnu::always_inline]] inline void store_value(KvFormat format, std::byte* panel, std::int64_t at,
                                               float x, float inverse) {
  switch (format) {
    case KvFormat::kF32:
      reinterpret_cast<float*>(panel)[at] = x;
      return;
    case KvFormat::kF16:
      reinterpret_cast<std::uint16_t*>(panel)[at] = to_f16(x);
      return;
    case KvFormat::kBF16:
      reinterpret_cast<std::uint16_t*>(panel)[at] =
          static_cast<std::uint16_t>(rounded_bf16(x) >> 16);
      return;
    case KvFormat::kInt8:
      reinterpret_cast<std::int8_t*>(panel)[at] = static_cast<std::int8_t>(to_int8(x, inverse));
      return;
  }
}

static inline void append_value(const KvLayout& kv, std::byte* block, std::int64_t token,
                                const float* x) {
  Int8Scale s;
  if (kv.format == KvFormat::kInt8) {
    s = int8_scale(x, kv.head_dim);
    reinterpret_cast<float*>(block + kv.value_scale_offset())[token] = s.scale;
  }
  const std::int64_t g = kv.interleave();
  for (std::int64_t p = 0; p < kv.head_dim; p += kKvHalf) {
    std::byte* panel = block + kv.value_offset() + p / kKvHalf * kv.value_panel_bytes();
    const std::int64_t first = token / g * kKvHalf * g + token % g;
    const std::int64_t n = kv.head_dim - p < kKvHalf ? kv.head_dim - p : kKvHalf;
    for (std::int64_t d = 0; d < n; ++d) {
      store_value(kv.format, panel, first + d * g, x[p + d], s.inverse);
    }
  }
}

}  // namespace kv_detail

/// Stores the keys of n tokens at token .. token + n - 1 of a block (token + n <= 64). Writes
/// nothing else, so threads may append different tokens of a block at once. Keys and values of a
/// run of many tokens cost about a cycle per two elements; aligned runs are cheapest.
static inline void append_keys(const KvLayout& kv, std::byte* block, std::int64_t token,
                               std::int64_t n, KvRows rows) {
  while (n > 0) {
    const std::int64_t room = kv_detail::kRun - token % kv_detail::kRun;
    const std::int64_t run = n < room ? n : room;
    kv_detail::append_key_run(kv, block, token, run, rows);
    token += run;
    n -= run;
    rows.data += run * rows.stride;
  }
}

/// The same for values.
static inline void append_values(const KvLayout& kv, std::byte* block, std::int64_t token,
                                 std::int64_t n, KvRows rows) {
  for (std::int64_t t = 0; t < n;) {
    const float* x = rows.data + t * rows.stride;
    if (kv.format == KvFormat::kBF16 && (token + t) % 2 == 0 && t + 1 < n) {
      kv_detail::append_value_pair(kv, block, token + t, x, x + rows.stride);
      t += 2;
    } else {
      kv_detail::append_value(kv, block, token + t, x);
      t += 1;
    }
  }
}

/// The stored number, widened. For tests and references.
static inline float key_at(const KvLayout& kv, const std::byte* block, std::int64_t token,
                           std::int64_t d) {
  const std::byte* panel = block + token / kKvHalf * kv.key_panel_bytes();
  const std::int64_t g = kv.interleave();
  const std::int64_t at = d / g * kKvHalf * g + token % kKvHalf * g + d % g;
  switch (kv.format) {
    case KvFormat::kF32:
      return reinterpret_cast<const float*>(panel)[at];
    case KvFormat::kF16:
      return kv_detail::widened_f16(reinterpret_cast<const std::uint16_t*>(panel)[at]);
    case KvFormat::kBF16:
      return kv_detail::widened_bf16(reinterpret_cast<const std::uint16_t*>(panel)[at]);
    default:
      return static_cast<float>(static_cast<int>(panel[at]) - 128) *
             reinterpret_cast<const float*>(block + kv.key_scale_offset())[token];
  }
}

static inline float value_at(const KvLayout& kv, const std::byte* block, std::int64_t token,
                             std::int64_t d) {
  const std::byte* panel = block + kv.value_offset() + d / kKvHalf * kv.value_panel_bytes();
  const std::int64_t g = kv.interleave();
  const std::int64_t at = token / g * kKvHalf * g + d % kKvHalf * g + token % g;
  switch (kv.format) {
    case KvFormat::kF32:
      return reinterpret_cast<const float*>(panel)[at];
    case KvFormat::kF16:
      return kv_detail::widened_f16(reinterpret_cast<const std::uint16_t*>(panel)[at]);
    case KvFormat::kBF16:
      return kv_detail::widened_bf16(reinterpret_cast<const std::uint16_t*>(panel)[at]);
    default:
      return static_cast<float>(reinterpret_cast<const std::int8_t*>(panel)[at]) *
             reinterpret_cast<const float*>(block + kv.value_scale_offset())[token];
  }
}

}  // namespace spate::kernels::cpu
