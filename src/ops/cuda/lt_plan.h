// LtPlan: a product as cuBLASLt sees it, and the algorithms that it suggests. For .cu files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <cublasLt.h>

#include "ops/cuda/gemm_lt.h"

namespace spate::ops::cuda {

inline constexpr int kCandidates = 12;

inline cudaDataType_t library_type(DType t) {
  switch (t) {
    case DType::kBF16:
      return CUDA_R_16BF;
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kF8E4M3:
      return CUDA_R_8F_E4M3;
    default:
      return CUDA_R_32F;
  }
}

/// The library's result type in a type with a name (nvcc 13.0 fails on vectors of the other).
struct LtCandidate {
  cublasLtMatmulHeuristicResult_t result;
};

/// The library's view of a problem. It counts columns first, so that d^T = w a^T: its A is w, its
/// B is a, both with contiguous k.
class LtPlan {
 public:
  LtPlan(const LtProblem& p, bool fused_bias) {
    const cudaDataType_t in = library_type(p.in), out = library_type(p.out);
    cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (p.in == DType::kF8E4M3) {
      set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{1});
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
      set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.w_scales);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.a_scales);
    }
    if (fused_bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    }
    const auto n = static_cast<std::uint64_t>(p.n), k = static_cast<std::uint64_t>(p.k);
    const auto m = static_cast<std::uint64_t>(p.m);
    cublasLtMatrixLayoutInit(&w_, in, k, n, p.k);
    cublasLtMatrixLayoutInit(&a_, in, k, m, p.a_stride == 0 ? p.k : p.a_stride);
    cublasLtMatrixLayoutInit(&d_, out, n, m, p.d_stride == 0 ? p.n : p.d_stride);
  }

  std::vector<LtCandidate> candidates(cublasLtHandle_t handle, int count, const LtScratch& scratch,
                                      bool whole_k) {
    cublasLtMatmulPreferenceOpaque_t preference;
    cublasLtMatmulPreferenceInit(&preference);
    const auto n_bytes = static_cast<std::size_t>(scratch.n_bytes);
    cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &n_bytes, sizeof n_bytes);
    const std::uint32_t no_splits = CUBLASLT_REDUCTION_SCHEME_NONE;
    if (whole_k) {
      cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                           &no_splits, sizeof no_splits);
    }
    cublasLtMatmulHeuristicResult_t results[kCandidates];
    int n_found = 0;
    if (cublasLtMatmulAlgoGetHeuristic(handle, &operation_, &w_, &a_, &d_, &d_, &preference,
                                       std::min(count, kCandidates), results,
                                       &n_found) != CUBLAS_STATUS_SUCCESS) {
      return {};
    }
    std::vector<LtCandidate> found;
    for (int i = 0; i < n_found; ++i) found.push_back({results[i]});
    return found;
  }

  cublasStatus_t launch(cublasLtHandle_t handle, const LtProblem& p,
                        const cublasLtMatmulAlgo_t& algorithm, const LtScratch& scratch) {
    const float alpha = 1.0F, beta = p.accumulate ? 1.0F : 0.0F;
    return cublasLtMatmul(handle, &operation_, &alpha, p.w, &w_, p.a, &a_, &beta, p.d, &d_, p.d,
                          &d_, &algorithm, scratch.workspace,
                          static_cast<std::size_t>(scratch.n_bytes), scratch.stream);
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    cublasLtMatmulDescSetAttribute(&operation_, attribute, &value, sizeof value);
  }
  cublasLtMatmulDescOpaque_t operation_{};
  cublasLtMatrixLayoutOpaque_t w_{}, a_{}, d_{};
};

}  // namespace spate::ops::cuda
