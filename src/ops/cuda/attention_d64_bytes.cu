#include "ops/cuda/attention_variants.cuh"

namespace spate::ops::cuda {

template AttentionKernels attention_byte_kernels<64>(const AttentionChoice& choice);

}  // namespace spate::ops::cuda
