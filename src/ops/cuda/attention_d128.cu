#include "ops/cuda/attention_variants.cuh"

namespace spate::ops::cuda {

template AttentionKernels attention_kernels<128>(const AttentionChoice& choice);

}  // namespace spate::ops::cuda
