// What the kernels of linear maps are told: plain structs, the same for every instruction set.
// Pointers are borrowed for the call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spate/kernels/cpu/kv_layout.h"
#include "spate/kernels/cpu/panel.h"

namespace spate::kernels::cpu {

struct PackPanelArgs {
  const std::uint8_t* rows = nullptr;  // n_rows rows of k contiguous elements
  Element element{};
  std::int64_t n_rows = 0;  // at most 32; missing columns become zero
  std::int64_t k = 0;
  PanelFormat format{};
  std::uint8_t* panel = nullptr;  // panel_bytes(format, k), 64-byte aligned
};

enum class NormKind : std::uint8_t { kNone, kRms, kLayer };
struct NormArgs {
  NormKind kind = NormKind::kNone;
  const float* weight = nullptr;
  const float* bias = nullptr;  // kLayer only, may be null
  float eps = 0.0F;
};

/// One row from f32 to what a panel's format multiplies.
struct PackRowArgs {
  const float* values = nullptr;  // f32 [k]
  std::int64_t k = 0;
  NormArgs norm{};
  RowKind kind{};
  std::uint8_t* row = nullptr;  // row_bytes(kind, k)
};

/// sums[r][c] = sum over k of row r times column c of panels that are neighbours in memory.
struct MultiplyArgs {
  const std::uint8_t* panel = nullptr;  // the first one, 64-byte aligned
  std::int64_t n_panels = 1;
  const std::uint8_t* rows = nullptr;  // packed rows, `row_stride` bytes apart
  std::int64_t row_stride = 0;
  std::int64_t n_rows = 0;
  std::int64_t k = 0;
  float* sums = nullptr;        // [n_rows][n_panels * 32]
  std::int64_t sum_stride = 0;  // in floats
  bool own_prefetch = false;    // streams are read fastest without calls ahead
};

/// The same for one panel whose 32 columns still lie in the checkpoint, as rows of bf16.
struct InPlaceArgs {
  const std::uint8_t* columns = nullptr;  // [32][k], k a multiple of 32
  const std::uint8_t* rows = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t n_rows = 0;  // 1 or 2
  std::int64_t k = 0;
  float* sums = nullptr;
  std::int64_t sum_stride = 0;
};

/// The order is that of spate::ops::Activation.
enum class ActivationKind : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kQuickGelu };

/// out[r][c] = sums[r][c] + bias[c], or is increased by it.
struct StoreArgs {
  const float* sums = nullptr;
  std::int64_t sum_stride = 0;
  std::int64_t n_rows = 0;
  const float* bias = nullptr;  // [n_columns] or null
  float* out = nullptr;
  std::int64_t out_stride = 0;
  std::int64_t n_columns = 0;  // at most 32; the rest is padding
  bool add = false;
};

/// One group of the next matrix's rows: act(sums + bias), times the second panel when gated.
struct ActivateArgs {
  const float* sums = nullptr;  // [rows][32], or [rows][64] when gated: gate, then up
  std::int64_t sum_stride = 0;
  std::int64_t n_rows = 0;
  const float* bias = nullptr;  // [32] or [64], or null
  ActivationKind kind{};
  bool gated = false;
  RowKind next{};
  std::uint8_t* rows = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t next_k = 0;  // values of a row
  std::int64_t group = 0;
};

enum class HeadRole : std::uint8_t { kQuery, kKey, kValue };

/// Where a row belongs.
struct RowPlace {
  const float* rope = nullptr;  // f32 [rotary]: its position's cosines, then sines; may be null
  std::byte* block = nullptr;   // the cache block of its position, in this layer
  std::int64_t token = 0;       // its position inside the block
};

struct HeadArgs {
  HeadRole role{};
  float* sums = nullptr;  // [rows][head_dim and padding]; changed
  std::int64_t sum_stride = 0;
  std::int64_t n_rows = 0;
  const RowPlace* places = nullptr;  // [n_rows]
  const float* bias = nullptr;       // [head_dim] or null
  NormArgs norm{};
  std::int64_t rotary = 0;
  float query_scale = 0.0F;
  bool bf16_queries = false;
  std::byte* queries = nullptr;  // of the first row and this head
  std::int64_t query_stride = 0;
  KvLayout kv{};
  std::int64_t kv_offset = 0;  // of this head in a block
};

}  // namespace spate::kernels::cpu
