#include "ops/cuda/attention_variants.cuh"

namespace spate::ops::cuda {

template AttentionKernels attention_f16_kernels<192>(const AttentionChoice& choice);

}  // namespace spate::ops::cuda
