#include "engine/admission.h"

#include <algorithm>

namespace spate {
namespace {

// Who was preempted this often comes back only when its longest continuation fits beside those of
// all that run: under FIFO nobody is preempted more often than this.
constexpr std::int64_t kMaxOptimism = 2;
// Weight of the latest answer in the mean length, once there have been as many.
constexpr std::int64_t kMemory = 32;
// Blocks that no forecast may use, as a share of the cache.
constexpr std::int64_t kMarginShare = 64;

}  // namespace

Admission::Admission(const AdmissionOptions& options, const KvAllocator& cache)
    : options_(options),
      cache_(cache),
      mean_new_tokens_(static_cast<double>(options.expected_new_tokens)) {}

bool Admission::allows(const Sequence& sequence, std::int64_t n_blocks,
                       std::span<Sequence* const> running) {
  if (n_blocks > cache_.free_blocks()) return false;
  if (running.empty()) return true;
  if (options_.kind == AdmissionKind::kExact || sequence.n_preemptions >= kMaxOptimism) {
    return fits_whole(sequence, running);
  }
  return fits_ahead(sequence, running);
}

void Admission::observe_finished(const Sequence& sequence) {
  if (sequence.max_tokens == sequence.n_prompt) return;
  n_observed_ = std::min(n_observed_ + 1, kMemory);
  const auto n_new = static_cast<double>(sequence.n_generated());
  mean_new_tokens_ += (n_new - mean_new_tokens_) / static_cast<double>(n_observed_);
}

// An answer is expected to reach the mean; one that has, to go on for half of it again.
Admission::Forecast Admission::forecast(const Sequence& sequence) const {
  const std::int64_t n_expected = expected_new_tokens();
  const std::int64_t n_left =
      std::max(n_expected - sequence.n_generated(), n_expected / 2 + cache_.block_tokens());
  const std::int64_t n_most = std::max<std::int64_t>(sequence.max_slots() - sequence.size(), 0);
  return {.n_left = std::min(n_left, n_most), .n_tokens = sequence.size()};
}

bool Admission::fits_whole(const Sequence& sequence, std::span<Sequence* const> running) const {
  std::int64_t n_blocks = cache_.blocks_for(sequence.max_slots());
  for (const Sequence* other : running) n_blocks += cache_.blocks_for(other->max_slots());
  return n_blocks <= cache_.capacity_blocks();
}

// All grow by a token a step, so the cache is fullest just before somebody ends: when t tokens
// are left to it, the sequences with at least t left hold their present length and t more each.
bool Admission::fits_ahead(const Sequence& sequence, std::span<Sequence* const> running) {
  forecasts_.clear();
  forecasts_.push_back(forecast(sequence));
  for (const Sequence* other : running) forecasts_.push_back(forecast(*other));
  std::ranges::sort(forecasts_, std::ranges::greater{}, &Forecast::n_left);

  const std::int64_t capacity = cache_.capacity_blocks();
  const std::int64_t n_slots = (capacity - capacity / kMarginShare) * cache_.block_tokens();
  std::int64_t n_alive = 0;
  std::int64_t n_held = 0;
  for (const Forecast& forecast : forecasts_) {
    ++n_alive;
    n_held += forecast.n_tokens + cache_.block_tokens() / 2;  // the last block is half empty
    if (n_held + n_alive * forecast.n_left > n_slots) return false;
  }
  return true;
}

}  // namespace spate
