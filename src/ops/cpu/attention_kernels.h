// Attention's kernels per instruction set; each unit attention_<set>.cc provides one function.
#pragma once

#include "spate/kernels/cpu/attention_task.h"

namespace spate::ops::cpu {

/// [format]: indexed by KvFormat.
using AttentionTable = kernels::cpu::AttentionKernels[4];

const AttentionTable& attention_generic();
const AttentionTable& attention_avx2();
const AttentionTable& attention_avx512();
/// On top of AVX-512, for a bf16 cache.
kernels::cpu::AttentionKernels attention_bf16_amx();

}  // namespace spate::ops::cpu
