// Memory and launches of AttentionWork. No fmt and no core/check.h here: this CUDA compiler cannot
// read fmt's headers in C++20.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "ops/cuda/attention_state.h"
#include "spate/kernels/cuda/attention_rows.cuh"
#include "spate/kernels/cuda/decode_params.cuh"
#include "spate/kernels/cuda/prefill_params.cuh"

namespace spate::ops::cuda {

namespace kernels = spate::cuda;

namespace {

// find.operator()<head_dim>(), for the head dims that have kernels.
template <class Find>
AttentionKernels of_head_dim(std::int64_t head_dim, const Find& find) {
  switch (head_dim) {
    case 64:
      return find.template operator()<64>();
    case 80:
      return find.template operator()<80>();
    case 96:
      return find.template operator()<96>();
    case 112:
      return find.template operator()<112>();
    case 128:
      return find.template operator()<128>();
    case 192:
      return find.template operator()<192>();
    case 256:
      return find.template operator()<256>();
    default:
      return {};
  }
}

AttentionKernels find_kernels(const AttentionChoice& choice, std::int64_t head_dim) {
  return of_head_dim(head_dim, [&]<int kDim>() {
    if (choice.cache == AttentionCache::kBf16) return attention_kernels<kDim>(choice);
    if (choice.cache == AttentionCache::kF16) return attention_f16_kernels<kDim>(choice);
    if constexpr (kDim == 64 || kDim == 128 || kDim == 256) {
      return attention_byte_kernels<kDim>(choice);
    }
    return AttentionKernels();
  });
}

}  // namespace

AttentionKernels find_attention_kernels(const AttentionShape& shape) {
  AttentionChoice choice;
  choice.window = shape.window.has_value();
  choice.group = static_cast<int>(shape.q_heads / shape.kv_heads);
  if (shape.soft_cap) choice.score = AttentionScore::kSoftCap;
  if (shape.alibi_slopes != nullptr) choice.score = AttentionScore::kAlibi;
  if (shape.soft_cap && shape.alibi_slopes != nullptr) return {};
  if (shape.cache == DType::kF32) return {};
  if (shape.cache == DType::kF16) choice.cache = AttentionCache::kF16;
  if (shape.cache == DType::kI8) choice.cache = AttentionCache::kInt8;
  if (shape.cache == DType::kF8E4M3) choice.cache = AttentionCache::kE4M3;
  return find_kernels(choice, shape.head_dim);
}

void* allocate_zeroed(std::int64_t bytes, const char** error) {
  void* memory = nullptr;
  cudaError_t code = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (code == cudaSuccess) code = cudaMemset(memory, 0, static_cast<std::size_t>(bytes));
  if (code == cudaSuccess) return memory;
  *error = cudaGetErrorString(code);
  cudaFree(memory);
  return nullptr;
}

void FreeDeviceMemory::operator()(std::byte* p) const { cudaFree(p); }

namespace {

/// What every kernel's parameters begin with.
template <class Params>
Params params_of(const AttentionState& s, const AttentionCall& c) {
  Params p;
  p.q = c.queries;
  p.out = c.out;
  p.q_heads = static_cast<int>(s.shape.q_heads);
  p.kv_heads = static_cast<int>(s.shape.kv_heads);
  p.scale = kernels::kLn2;  // queries come in units of powers of two
  p.pages = c.cache;
  p.page_stride = c.block_stride;
  p.head_stride = c.head_bytes;
  p.k_scale = c.k_scale;
  p.v_scale = c.v_scale;
  p.window_left = s.window_left();
  p.soft_cap = s.shape.soft_cap.value_or(0);
  p.alibi_slopes = s.shape.alibi_slopes;
  p.dependent_launch = c.dependent_launch;
  return p;
}

int run_prefill(const AttentionState& s, const AttentionCall& c, const kernels::StepTables& tables,
                cudaStream_t stream) {
  auto p = params_of<kernels::PrefillParams>(s, c);
  p.q_token_stride = p.out_token_stride = s.shape.q_heads * s.shape.head_dim;
  p.q_head_stride = p.out_head_stride = s.shape.head_dim;
  p.total_q = c.rows;
  p.page_table = tables.block_table;
  p.page_tokens = kernels::kStepBlockTokens;
  p.tiles = reinterpret_cast<const kernels::PrefillTile*>(s.staged + s.lists.tiles);
  p.n_tiles = static_cast<int>(s.sizes.tiles);
  p.tile_count = reinterpret_cast<const std::int32_t*>(s.staged);
  p.pack_shift = s.sizes.pack_shift;
  p.counters = reinterpret_cast<std::uint32_t*>(s.memory.get() + s.workspace.counters);
  p.multiprocessors = static_cast<int>(s.limits.multiprocessors);
  return s.sizes.kernels.prefill(p, stream);
}

int run_decode(const AttentionState& s, const AttentionCall& c, const kernels::StepTables& tables,
               cudaStream_t stream) {
  auto p = params_of<kernels::DecodeParams>(s, c);
  p.q_token_stride = p.out_token_stride = s.shape.q_heads * s.shape.head_dim;
  p.page_table = tables.block_table;
  p.page_tokens = kernels::kStepBlockTokens;
  p.shares = reinterpret_cast<const kernels::DecodeShare*>(s.staged + s.lists.shares);
  p.rows = reinterpret_cast<const kernels::DecodeRow*>(s.staged + s.lists.rows);
  p.grid = static_cast<int>(s.limits.multiprocessors);
  p.partial_out = reinterpret_cast<float*>(s.memory.get() + s.workspace.out);
  p.partial_stats = reinterpret_cast<float2*>(s.memory.get() + s.workspace.stats);
  p.tickets = reinterpret_cast<std::uint32_t*>(s.memory.get() + s.workspace.tickets);
  return s.sizes.kernels.decode(p, stream);
}

// The requests that neither of the others takes.
int run_rows(const AttentionState& s, const AttentionCall& c, const kernels::StepTables& tables,
             cudaStream_t stream) {
  auto p = params_of<kernels::AttentionRowsParams>(s, c);
  p.tables = tables;
  p.rows = c.rows;
  p.head_dim = static_cast<int>(s.shape.head_dim);
  if (s.sizes.kernels.decode != nullptr) p.least_q_len = static_cast<int>(kMostDecodeRows) + 1;
  switch (s.shape.cache) {
    case DType::kF32:
      return kernels::launch_attention_rows<float, float>(p, stream);
    case DType::kBF16:
      return kernels::launch_attention_rows<__nv_bfloat16, __nv_bfloat16>(p, stream);
    case DType::kF16:
      return kernels::launch_attention_rows<__half, __half>(p, stream);
    case DType::kF8E4M3:
      return kernels::launch_attention_rows<__nv_bfloat16, __nv_fp8_e4m3>(p, stream);
    case DType::kI8:
      return kernels::launch_attention_rows<__nv_bfloat16, std::int8_t>(p, stream);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace

int AttentionWork::run(const AttentionCall& call, const spate::cuda::StepTables& tables,
                       CUstream_st* stream) const {
  const AttentionState& s = *state_;
  const bool decodes = s.sizes.kernels.decode != nullptr;
  const bool prefills = s.sizes.kernels.prefill != nullptr;
  int error = cudaSuccess;
  if (call.may_have_prefill || !decodes) {
    error = prefills ? run_prefill(s, call, tables, stream) : run_rows(s, call, tables, stream);
  }
  if (error == cudaSuccess && decodes && call.may_have_decode) {
    error = run_decode(s, call, tables, stream);
  }
  return error;
}

}  // namespace spate::ops::cuda
