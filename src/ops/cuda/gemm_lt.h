// GemmLt: products of many rows through cuBLASLt, with a cache of which algorithm is fastest for
// which shape. It owns the library's handle; matrices and workspace belong to the caller. Products
// of few rows have kernels of their own (kernels/cuda/gemm_stream.cuh, gemm_chain.cuh), and so have
// gates and ups.
#pragma once

#include <cstdint>
#include <memory>

#include "core/dtype.h"
#include "spate/result.h"

struct CUstream_st;

namespace spate::ops::cuda {

/// d = a w^T (+ bias) (+ d). Device pointers, 16-byte aligned; k, and strides in bytes, are
/// multiples of 16 bytes. Sums are f32 throughout (f32 inputs: no TF32).
struct LtProblem {
  std::int64_t m = 0;  // rows, any number
  std::int64_t n = 0;  // outputs
  std::int64_t k = 0;
  DType in = DType::kBF16;          // of a and w: kBF16, kF16, kF32, kF8E4M3
  DType out = DType::kF32;          // of d: kF32, or in's type (kBF16 or kF16 for kF8E4M3)
  const void* a = nullptr;          // [m, k]
  std::int64_t a_stride = 0;        // elements between rows; 0: k
  const void* w = nullptr;          // [n, k]
  void* d = nullptr;                // [m, n]
  std::int64_t d_stride = 0;        // elements between rows; 0: n
  const float* a_scales = nullptr;  // [m], kF8E4M3 only
  const float* w_scales = nullptr;  // [n], kF8E4M3 only
  const float* bias = nullptr;      // [n], or null
  bool accumulate = false;          // adds to what d holds; out kF32 only
};

struct LtOptions {
  /// A row's bits do not depend on m: one algorithm without splits of k stands for all numbers of
  /// rows, and others are used where they were seen to give its bits.
  bool deterministic = false;
  /// Time the candidates of a shape when it is first met; else the library's first choice.
  bool tune = true;
};

/// Scratch memory for the library, and where it works.
struct LtScratch {
  void* workspace = nullptr;  // 256-byte aligned
  std::int64_t n_bytes = 0;   // kLtWorkspaceBytes is plenty
  CUstream_st* stream = nullptr;
};
inline constexpr std::int64_t kLtWorkspaceBytes = std::int64_t{32} << 20;

/// Thread rule: one thread. Streams being captured into graphs never tune: they use what was found
/// before, or the library's first choice.
class GemmLt {
 public:
  static Result<std::unique_ptr<GemmLt>> create(const LtOptions& options = {});
  ~GemmLt();
  GemmLt(const GemmLt&) = delete;
  GemmLt& operator=(const GemmLt&) = delete;

  Result<void> run(const LtProblem& problem, const LtScratch& scratch);
  /// With LtOptions::deterministic: by the algorithm that stands for all numbers of rows.
  Result<void> run_for_all_rows(const LtProblem& problem, const LtScratch& scratch);
  /// Finds the algorithm for a problem's shape without running it: d is not written. May allocate
  /// and free device memory, and waits for the stream.
  Result<void> tune(const LtProblem& problem, const LtScratch& scratch);
  /// Number of shapes whose algorithm was found by timing.
  std::int64_t n_tuned() const;

 private:
  struct State;
  explicit GemmLt(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace spate::ops::cuda
