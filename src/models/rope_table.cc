#include "models/rope_table.h"

#include <algorithm>
#include <cmath>

#include "core/load_error.h"
#include "models/rope.h"

namespace spate {

RopeTable::RopeTable(const RopeConfig& config, std::int64_t head_dim, std::int64_t n_positions,
                     Gpu* gpu)
    : config_(config), head_dim_(head_dim), n_positions_(n_positions), gpu_(gpu) {
  RopeFrequencies frequencies = rope_frequencies(config, head_dim, n_positions);
  inverse_frequencies_ = std::move(frequencies.inverse);
  scale_ = frequencies.attention_scale;
  const auto pairs = static_cast<std::int64_t>(inverse_frequencies_.size());
  table_ = value_or_throw(
      Buffer::reserve_host(n_positions * 2 * pairs * static_cast<std::int64_t>(sizeof(float))));
  if (gpu_ != nullptr) on_gpu_ = value_or_throw(Buffer::reserve_gpu(table_.n_bytes()));
}

void RopeTable::ensure(std::int64_t n) {
  SPATE_CHECK_OP(n, <=, n_positions_);
  // A decode step should rarely find work here; a GPU would wait for it.
  const std::int64_t ahead = gpu_ != nullptr ? 4096 : 256;
  if (n <= ready_) return;
  const std::int64_t begin = ready_;
  const std::int64_t end = std::min(n_positions_, n + ahead);
  const auto pairs = static_cast<std::int64_t>(inverse_frequencies_.size());
  auto* row = reinterpret_cast<float*>(table_.data()) + ready_ * 2 * pairs;
  for (; ready_ < end; ++ready_, row += 2 * pairs) {
    for (std::int64_t i = 0; i < pairs; ++i) {
      // The angle is rounded to f32 before the cosine, as in transformers.
      const float angle =
          static_cast<float>(ready_) * inverse_frequencies_[static_cast<std::size_t>(i)];
      row[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * scale_;
      row[pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * scale_;
    }
  }
  if (gpu_ == nullptr) return;
  const std::int64_t row_bytes = 2 * pairs * static_cast<std::int64_t>(sizeof(float));
  gpu_->copy(on_gpu_.data() + begin * row_bytes, table_.data() + begin * row_bytes,
             (end - begin) * row_bytes);
}

ops::RopeTable RopeTable::view() const {
  return {.cos_sin = reinterpret_cast<const float*>((gpu_ != nullptr ? on_gpu_ : table_).data()),
          .rotary_dim = 2 * static_cast<std::int64_t>(inverse_frequencies_.size()),
          .n_positions = ready_};
}

}  // namespace spate
