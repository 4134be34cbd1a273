// The passes over one row of logits that sampling is made of, once per instruction set.
// They know pointers only. All of them give the same bits: each works in 16 lanes and in pieces
// of 1024 elements whatever the vector width, without contraction, so the order of every sum is
// fixed. Arrays marked "padded" have room for padded_size(n) elements.
#pragma once

#include <cstdint>

namespace spate::internal {

/// The unit of the block maxima, and the unit in which masses are summed and searched.
inline constexpr std::int64_t kBlock = 64;
inline constexpr std::int64_t kPiece = 1024;
inline constexpr std::int64_t kPivots = 4;

constexpr std::int64_t block_count(std::int64_t n) { return (n + kBlock - 1) / kBlock; }
constexpr std::int64_t piece_count(std::int64_t n) { return (n + kPiece - 1) / kPiece; }
constexpr std::int64_t padded_size(std::int64_t n) { return piece_count(n) * kPiece; }

struct RowScan {
  float max = 0;
  bool has_nan = false;
};

/// What lies above a pivot.
struct Tail {
  double mass = 0;
  std::int64_t count = 0;
};

struct RowKernels {
  const char* name = "";

  /// The maximum of each block of 64 (`maxima` [block_count(n)]) and of the row; NaN is skipped
  /// and reported.
  void (*scan)(const float* x, std::int64_t n, float* maxima, RowScan* out) = nullptr;

  /// w = exp((x - max) * inverse_temperature), zero where that is below exp(-87), padded with
  /// zeros; `sums` [piece_count(n)] are the sums of the pieces. Relative error of w under 2^-22.
  void (*weigh)(const float* x, std::int64_t n, float max, float inverse_temperature, float* w,
                double* sums) = nullptr;

  /// Mass and count of the elements with key > pivots[j]. `keys` and `w` are padded; what is in
  /// the padding counts. Relative error of the mass under 2^-20.
  void (*tails)(const float* keys, const float* w, std::int64_t n, const float* pivots,
                Tail* out) = nullptr;

  /// Appends the indices with lo < key <= hi, ascending, to `out` (padded); returns how many.
  std::int64_t (*collect)(const float* keys, std::int64_t n, float lo, float hi,
                          std::int32_t* out) = nullptr;

  /// Sets w to zero where key <= lo and sums the pieces. `keys` and `w` are padded.
  void (*keep)(const float* keys, float lo, float* w, std::int64_t n, double* sums) = nullptr;
};

/// The kernels of one instruction set, or null where this machine lacks it.
const RowKernels* baseline_kernels();
const RowKernels* avx2_kernels();
const RowKernels* avx512_kernels();

/// The fastest that this machine runs.
const RowKernels& row_kernels();

}  // namespace spate::internal
