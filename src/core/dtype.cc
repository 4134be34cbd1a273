#include "core/dtype.h"

#include <array>
#include <cmath>

namespace spate {

F16 F16::from_float(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (u >> 16) & 0x8000U;
  const std::uint32_t magnitude = u & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {static_cast<std::uint16_t>(sign | 0x7e00U)};
  if (magnitude >= 0x477ff000U) return {static_cast<std::uint16_t>(sign | 0x7c00U)};
  if (magnitude < 0x38800000U) {  // a binary16 denormal: adding 0.5 rounds at 2^-24
    const float rounded = std::bit_cast<float>(magnitude) + 0.5F;
    return {
        static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(rounded) - 0x3f000000U))};
  }
  const std::uint32_t odd = (magnitude >> 13) & 1U;
  return {static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000U + 0xfffU + odd) >> 13))};
}

float F16::to_float() const {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00U) {  // infinity and NaN
    return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  }
  if (magnitude < 0x400U) {
    const float value = std::ldexp(static_cast<float>(magnitude), -24);
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000U));
}

namespace {

struct Name {
  DType dtype;
  std::string_view ours, safetensors, torch;
};

constexpr auto kNames = std::to_array<Name>({
    {DType::kF32, "f32", "F32", "float32"},
    {DType::kF16, "f16", "F16", "float16"},
    {DType::kBF16, "bf16", "BF16", "bfloat16"},
    {DType::kI32, "i32", "I32", "int32"},
    {DType::kI64, "i64", "I64", "int64"},
    {DType::kI8, "i8", "I8", "int8"},
    {DType::kU8, "u8", "U8", "uint8"},
    {DType::kF8E4M3, "fp8", "F8_E4M3", "float8_e4m3fn"},
});

}  // namespace

std::string_view name_of(DType t) {
  for (const Name& n : kNames) {
    if (n.dtype == t) return n.ours;
  }
  return "?";
}

std::optional<DType> dtype_named(std::string_view name) {
  constexpr std::string_view kTorch = "torch.";
  if (name.starts_with(kTorch)) name.remove_prefix(kTorch.size());
  for (const Name& n : kNames) {
    if (name == n.ours || name == n.safetensors || name == n.torch) return n.dtype;
  }
  return std::nullopt;
}

}  // namespace spate
