#include "ops/cpu/attention_kernels.h"
#include "spate/kernels/cpu/attention.h"

namespace spate::ops::cpu {

using kernels::cpu::KvFormat;

const AttentionTable& attention_generic() {
  using namespace kernels::cpu::SPATE_CPU_ISA;  // NOLINT(google-build-using-namespace)
  static constexpr AttentionTable kTable = {
      attention_kernels_for<KvFormat::kF32>(), attention_kernels_for<KvFormat::kF16>(),
      attention_kernels_for<KvFormat::kBF16>(), attention_kernels_for<KvFormat::kInt8>()};
  return kTable;
}

}  // namespace spate::ops::cpu
