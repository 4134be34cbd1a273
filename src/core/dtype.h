// Element types: what they are called, how large they are, how the 16-bit ones convert.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace spate {

enum class DType : std::uint8_t { kF32, kF16, kBF16, kI32, kI64, kI8, kU8, kF8E4M3 };

/// bfloat16: the upper half of a binary32. Conversion rounds to nearest even; NaN stays NaN.
struct BF16 {
  std::uint16_t bits = 0;

  static BF16 from_float(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    if ((u & 0x7fffffffU) > 0x7f800000U) {
      return {static_cast<std::uint16_t>((u >> 16) | 0x40U)};
    }
    return {static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16)};
  }
  float to_float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

/// IEEE binary16. Conversion rounds to nearest even and keeps denormals, infinities and NaN.
struct F16 {
  std::uint16_t bits = 0;

  static F16 from_float(float x);
  float to_float() const;
};

constexpr std::int64_t size_of(DType t) {
  switch (t) {
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    default:
      return 1;
  }
}

/// "f32", "bf16", ...: the names of the command line and of messages.
std::string_view name_of(DType t);
/// Accepts our names, safetensors' ("BF16") and PyTorch's ("bfloat16", "torch.bfloat16").
std::optional<DType> dtype_named(std::string_view name);

/// Element types that arithmetic code is instantiated for.
template <class F>
decltype(auto) visit_float_dtype(DType t, F&& f) {
  switch (t) {
    case DType::kF16:
      return f.template operator()<F16>();
    case DType::kBF16:
      return f.template operator()<BF16>();
    default:
      return f.template operator()<float>();
  }
}

inline float to_float(float x) { return x; }
inline float to_float(BF16 x) { return x.to_float(); }
inline float to_float(F16 x) { return x.to_float(); }

}  // namespace spate
