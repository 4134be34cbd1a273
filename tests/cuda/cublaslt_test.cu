// cuBLASLt is loaded, not linked. Its descriptors need no GPU.
#include <cublasLt.h>
#include <gtest/gtest.h>

#include "ops/cuda/cublaslt.h"

namespace spate::cuda_test {
namespace {

TEST(HostCublasLt, IsLoadedWhenItIsCalled) {
  EXPECT_EQ(ops::cuda::why_no_cublaslt(), "");

  cublasLtMatmulDescOpaque_t operation{};
  EXPECT_EQ(cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
            CUBLAS_STATUS_SUCCESS);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(&operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                           sizeof transposed),
            CUBLAS_STATUS_SUCCESS);
  // It is the library that answers: what it does not know is refused.
  EXPECT_EQ(
      cublasLtMatmulDescSetAttribute(&operation, static_cast<cublasLtMatmulDescAttributes_t>(999),
                                     &transposed, sizeof transposed),
      CUBLAS_STATUS_INVALID_VALUE);

  cublasLtMatrixLayoutOpaque_t layout{};
  EXPECT_EQ(cublasLtMatrixLayoutInit(&layout, CUDA_R_16BF, 64, 16, 64), CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulPreferenceOpaque_t preference{};
  EXPECT_EQ(cublasLtMatmulPreferenceInit(&preference), CUBLAS_STATUS_SUCCESS);
}

}  // namespace
}  // namespace spate::cuda_test
