// Whether one more sequence is let into the cache now: arithmetic on counts, which changes nothing
// in the cache. docs/adr/0002-admission.md says why the default looks ahead.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/sequence.h"
#include "kv/allocator.h"

namespace spate {

enum class AdmissionKind : std::uint8_t {
  kLookahead,  // by the length that answers are expected to reach; preemption corrects it
  kExact,      // by the longest length possible; nothing is ever preempted
};

struct AdmissionOptions {
  AdmissionKind kind = AdmissionKind::kLookahead;
  std::int64_t expected_new_tokens = 512;  // until finished answers tell better
};

/// Engine thread only. Learns the length of answers from those that finish.
class Admission {
 public:
  Admission(const AdmissionOptions& options, const KvAllocator& cache);

  /// Forgets what was allowed before: `running` may have changed since.
  void begin_step() { looked_ = false; }

  /// Whether `sequence`, which takes n_blocks now, may join `running`. If so it is counted from
  /// now on, in case `running` does not yet have it.
  bool allows(const Sequence& sequence, std::int64_t n_blocks, std::span<Sequence* const> running);

  void observe_finished(const Sequence& sequence);
  /// The median length of recent answers.
  std::int64_t expected_new_tokens() const { return lengths_[kLengths / 2]; }

 private:
  // Answers remembered.
  static constexpr std::int64_t kLengths = 64;
  // Moments at which a forecast is checked.
  static constexpr std::int64_t kEnds = 64;

  // The sequences that are expected to end at about the same time.
  struct End {
    std::int64_t n_sequences = 0;
    std::int64_t n_tokens = 0;  // slots they need now
    std::int64_t n_left = 0;    // tokens until the last of them ends
  };

  void look(std::span<Sequence* const> running);
  std::int64_t forecast(const Sequence& sequence) const;
  End& end_of(std::int64_t n_left);
  void count(const Sequence& sequence);
  bool fits_whole(const Sequence& sequence, std::span<Sequence* const> running) const;
  bool fits_ahead() const;

  AdmissionOptions options_;
  const KvAllocator& cache_;
  std::array<std::int64_t, kLengths> latest_{};   // lengths of answers, a ring
  std::array<std::int64_t, kLengths> lengths_{};  // the same, sorted
  std::int64_t n_observed_ = 0;
  bool looked_ = false;            // whether ends_ is about this step
  std::int64_t width_ = 1;         // tokens from one end to the next
  std::array<End, kEnds> ends_{};  // [i]: those with [i * width_, (i + 1) * width_) tokens left
};

}  // namespace spate
