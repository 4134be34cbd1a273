// Whether one more sequence is let into the cache now: arithmetic on block counts, no side effects
// on the cache. docs/adr/0002-admission.md says why the default looks ahead.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "kv/allocator.h"

namespace spate {

enum class AdmissionKind : std::uint8_t {
  kOptimistic,  // by the length that answers are expected to reach; preemption corrects it
  kExact,       // by the longest length possible; nothing is ever preempted
};

struct AdmissionOptions {
  AdmissionKind kind = AdmissionKind::kOptimistic;
  std::int64_t expected_new_tokens = 512;  // until finished sequences tell better
};

/// Engine thread only. Learns the length of answers from those that finish.
class Admission {
 public:
  Admission(const AdmissionOptions& options, const KvAllocator& cache);

  /// Whether `sequence`, which takes n_blocks now, may join `running`.
  bool allows(const Sequence& sequence, std::int64_t n_blocks, std::span<Sequence* const> running);

  void observe_finished(const Sequence& sequence);
  std::int64_t expected_new_tokens() const { return std::llround(mean_new_tokens_); }

 private:
  struct Forecast {
    std::int64_t n_left = 0;    // tokens until it is expected to end
    std::int64_t n_tokens = 0;  // slots it needs now
  };

  Forecast forecast(const Sequence& sequence) const;
  bool fits_whole(const Sequence& sequence, std::span<Sequence* const> running) const;
  bool fits_ahead(const Sequence& sequence, std::span<Sequence* const> running);

  AdmissionOptions options_;
  const KvAllocator& cache_;
  double mean_new_tokens_;
  std::int64_t n_observed_ = 4;  // the option's value weighs as much as a few answers
  std::vector<Forecast> forecasts_{};
};

}  // namespace spate
