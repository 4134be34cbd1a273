// Which compiled attention kernel fits a shape. Each head dim is a translation unit of its own
// (attention_d*.cu), so that a build compiles them side by side. Includes nothing of CUDA.
#pragma once

struct CUstream_st;

namespace spate::cuda {
struct DecodeParams;
struct PrefillParams;
}  // namespace spate::cuda

namespace spate::ops::cuda {

enum class AttentionCache { kBf16, kE4M3, kInt8, kF16 };
enum class AttentionScore { kPlain, kSoftCap, kAlibi };

struct AttentionChoice {
  AttentionCache cache = AttentionCache::kBf16;
  bool window = false;
  AttentionScore score = AttentionScore::kPlain;
  int group = 1;  // query heads of a kv head
};

// Null: there is no such variant. They return a cudaError_t.
struct AttentionKernels {
  int (*decode)(const spate::cuda::DecodeParams&, CUstream_st*) = nullptr;
  int decode_columns = 0, decode_block_tokens = 0;
  int (*prefill)(const spate::cuda::PrefillParams&, CUstream_st*) = nullptr;
  int prefill_tile_rows = 0;
};

// For bf16 caches, f16 caches, and caches of bytes.
template <int kDim>
AttentionKernels attention_kernels(const AttentionChoice& choice);
template <int kDim>
AttentionKernels attention_f16_kernels(const AttentionChoice& choice);
template <int kDim>
AttentionKernels attention_byte_kernels(const AttentionChoice& choice);

extern template AttentionKernels attention_kernels<64>(const AttentionChoice&);
extern template AttentionKernels attention_kernels<80>(const AttentionChoice&);
extern template AttentionKernels attention_kernels<96>(const AttentionChoice&);
extern template AttentionKernels attention_kernels<112>(const AttentionChoice&);
extern template AttentionKernels attention_kernels<128>(const AttentionChoice&);
extern template AttentionKernels attention_kernels<192>(const AttentionChoice&);
extern template AttentionKernels attention_kernels<256>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<64>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<80>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<96>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<112>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<128>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<192>(const AttentionChoice&);
extern template AttentionKernels attention_f16_kernels<256>(const AttentionChoice&);
extern template AttentionKernels attention_byte_kernels<64>(const AttentionChoice&);
extern template AttentionKernels attention_byte_kernels<128>(const AttentionChoice&);
extern template AttentionKernels attention_byte_kernels<256>(const AttentionChoice&);

}  // namespace spate::ops::cuda
