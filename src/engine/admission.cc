#include "engine/admission.h"

#include <algorithm>

namespace spate {
namespace {

// Who was preempted this often comes back only when its longest continuation fits beside those of
// all that run: under FIFO nobody is preempted more often than this.
constexpr std::int64_t kMaxOptimism = 2;
// Blocks that no forecast may use, as a share of the cache.
constexpr std::int64_t kMarginShare = 64;

}  // namespace

Admission::Admission(const AdmissionOptions& options, const KvAllocator& cache)
    : options_(options), cache_(cache) {
  latest_.fill(options.expected_new_tokens);
  lengths_ = latest_;
}

bool Admission::allows(const Sequence& sequence, std::int64_t n_blocks,
                       std::span<Sequence* const> running) {
  if (n_blocks > cache_.free_blocks()) return false;
  if (running.empty()) return true;
  if (options_.kind == AdmissionKind::kExact || sequence.n_preemptions >= kMaxOptimism) {
    const bool fits = fits_whole(sequence, running);
    if (fits && looked_) count(sequence);
    return fits;
  }
  if (!looked_) look(running);
  End& end = end_of(forecast(sequence));
  const End before = end;
  count(sequence);
  const bool fits = fits_ahead();
  if (!fits) end = before;
  return fits;
}

void Admission::observe_finished(const Sequence& sequence) {
  if (sequence.max_tokens == sequence.n_prompt) return;
  const std::int64_t n_new = sequence.n_generated();
  latest_[static_cast<std::size_t>(n_observed_++ % kLengths)] = n_new;
  lengths_ = latest_;
  std::ranges::sort(lengths_);
}

void Admission::look(std::span<Sequence* const> running) {
  looked_ = true;
  width_ = 2 * (lengths_.back() + cache_.block_tokens()) / kEnds + 1;
  ends_ = {};
  for (const Sequence* sequence : running) count(*sequence);
}

// How many tokens the sequence has left, if that is not known. One that has g tokens is like the
// recent answers longer than g; if there are none, it goes on as long again. Which of them it is
// like is spread evenly over the sequences (multiples of the golden ratio): no single forecast is
// good, but what counts is their sum.
std::int64_t Admission::forecast(const Sequence& sequence) const {
  const std::int64_t n_most = std::max<std::int64_t>(sequence.max_slots() - sequence.size(), 0);
  if (sequence.fixed_length) return n_most;
  const std::int64_t n_generated = sequence.n_generated();
  const auto longer = std::ranges::upper_bound(lengths_, n_generated);
  const std::int64_t n_longer = lengths_.end() - longer;
  if (n_longer == 0) return std::min(n_most, n_generated + cache_.block_tokens());
  const std::uint64_t spread = static_cast<std::uint64_t>(sequence.serial) * 0x9e3779b97f4a7c15ULL;
  const auto chosen = static_cast<std::int64_t>(spread >> 32) * n_longer >> 32;
  return std::min(n_most, longer[chosen] - n_generated);
}

Admission::End& Admission::end_of(std::int64_t n_left) {
  return ends_[static_cast<std::size_t>(std::min(n_left / width_, kEnds - 1))];
}

void Admission::count(const Sequence& sequence) {
  const std::int64_t n_left = forecast(sequence);
  End& end = end_of(n_left);
  ++end.n_sequences;
  end.n_tokens += sequence.size() + cache_.block_tokens() / 2;  // its last block is half empty
  end.n_left = std::max(end.n_left, n_left);
}

bool Admission::fits_whole(const Sequence& sequence, std::span<Sequence* const> running) const {
  std::int64_t n_blocks = cache_.blocks_for(sequence.max_slots());
  for (const Sequence* other : running) n_blocks += cache_.blocks_for(other->max_slots());
  return n_blocks <= cache_.capacity_blocks();
}

// All grow by a token a step, so the cache is fullest just before somebody ends: when t tokens
// are left to it, the sequences with at least t left hold their present length and t more each.
// Those of one end are taken to last as long as its last, which is on the safe side.
bool Admission::fits_ahead() const {
  const std::int64_t capacity = cache_.capacity_blocks();
  const std::int64_t n_slots = (capacity - capacity / kMarginShare) * cache_.block_tokens();
  End alive;
  for (std::int64_t i = kEnds - 1; i >= 0; --i) {
    const End& end = ends_[static_cast<std::size_t>(i)];
    alive.n_sequences += end.n_sequences;
    alive.n_tokens += end.n_tokens;
    if (alive.n_tokens + alive.n_sequences * end.n_left > n_slots) return false;
  }
  return true;
}

}  // namespace spate
