// One sequence being completed or scored, as the scheduler keeps it. Plain data, no device and no
// sampling state; what a request wants beyond tokens is behind the opaque `request`.
// Owned by the Scheduler alone; others read it through Scheduler::find.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "kv/span.h"
#include "spate/sampling.h"

namespace spate {

/// Stands in Sequence::tokens for a token that a plan in flight is about to sample. On a device
/// that runs one step ahead the value is still there only, in the order the plans ran.
inline constexpr TokenId kTokenInFlight = -1;

enum class SequenceStatus : std::uint8_t {
  kWaiting,    // holds no cache
  kRunning,    // holds cache for all its tokens
  kPreempted,  // waits again after its cache was taken; computes everything anew
  kFinished,   // holds no cache; kept until Scheduler::forget
};

/// What the scheduler is given.
struct SequenceSpec {
  std::vector<TokenId> prompt{};
  std::int64_t max_new_tokens = 0;  // 0: nothing is sampled (scoring)
  bool fixed_length = false;        // nothing ends it sooner
  /// First position whose logits the caller wants, at most prompt.size() - 1. Absent from plans
  /// before it. The default is the last of the prompt, from which the first token is sampled.
  std::int64_t first_logits = std::numeric_limits<std::int64_t>::max();
  std::int64_t priority = 0;  // lower is sooner, if the policy looks at it
  std::int64_t arrival_ns = 0;
  std::int64_t request = 0;  // the caller's own index; the scheduler does not read it
  /// A sequence with the same prompt (n > 1): its cache is shared when it is running by then.
  std::optional<SequenceId> same_prompt_as{};
};

struct Sequence {
  SequenceId id{};
  SequenceStatus status = SequenceStatus::kWaiting;
  std::vector<TokenId> tokens{};  // prompt, generated, then kTokenInFlight for those under way
  std::int64_t n_prompt = 0;
  std::int64_t max_tokens = 0;  // prompt and generated together
  bool fixed_length = false;    // it will generate all of them
  /// Tokens whose keys and values are in the cache once the plans handed out so far have run.
  std::int64_t n_computed = 0;
  std::int64_t n_in_flight = 0;  // plans handed out, not committed, that have a chunk of this
  std::int64_t next_logits = 0;  // first position whose logits no plan has computed yet
  std::int64_t n_slots = 0;      // token slots held in the cache
  std::int64_t n_preemptions = 0;
  std::int64_t priority = 0;
  std::int64_t arrival_ns = 0;
  std::int64_t serial = 0;     // counts arrivals from 1
  std::int64_t seniority = 0;  // the policy's; lower is served first and preempted last
  std::int64_t request = 0;
  std::optional<SequenceId> same_prompt_as{};
  std::int64_t last_step = -1;  // of the plan that has its latest chunk
  std::int64_t last_first = 0;  // n_computed before that chunk

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  /// Tokens that the next plan could compute; their values may be in flight.
  std::int64_t n_remaining() const {
    const bool full = n_prompt < max_tokens && size() == max_tokens;
    return full ? size() - 1 - n_computed : size() - n_computed;
  }
  std::int64_t n_generated() const { return size() - n_prompt; }
  /// Slots that the longest continuation needs; the last token's are never written.
  std::int64_t max_slots() const { return n_prompt < max_tokens ? max_tokens - 1 : n_prompt; }
};

}  // namespace spate
