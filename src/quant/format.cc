#include "quant/format.h"

#include "spate/kernels/cpu/panel.h"

namespace spate {

std::string_view name_of(WeightFormat f) {
  switch (f) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kWideBF16:
      return "bf16 (f32 arithmetic)";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kQ8:
      return "q8";
    case WeightFormat::kFp8:
      return "fp8";
    default:
      return "q4";
  }
}

double bits_per_weight(WeightFormat f) {
  if (f == WeightFormat::kFp8) return 8.0;
  using kernels::cpu::kColumns;
  using kernels::cpu::kStep;
  const auto bytes = kernels::cpu::step_bytes(static_cast<kernels::cpu::PanelFormat>(f));
  return static_cast<double>(bytes) * 8 / (kColumns * kStep);
}

}  // namespace spate
