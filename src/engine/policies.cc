#include "engine/policies.h"

#include <array>

namespace spate {
namespace {

// What other wishes weigh against waiting. Both are finite, so that whoever waits long enough
// comes to the front.
constexpr std::int64_t kNsPerToken = 10'000'000;
constexpr std::int64_t kNsPerPriority = 60'000'000'000;

std::int64_t by_arrival(const Candidate& candidate) { return candidate.arrival_ns; }

std::int64_t by_length(const Candidate& candidate) {
  return candidate.arrival_ns + candidate.max_tokens * kNsPerToken;
}

std::int64_t by_priority(const Candidate& candidate) {
  return candidate.arrival_ns + candidate.priority * kNsPerPriority;
}

Turn next_tokens_first(const Candidate& candidate) {
  if (!candidate.running) return Turn::kThird;
  return candidate.n_remaining <= 1 ? Turn::kFirst : Turn::kSecond;
}

Turn prompts_first(const Candidate& candidate) {
  if (!candidate.running) return Turn::kSecond;
  return candidate.n_remaining <= 1 ? Turn::kThird : Turn::kFirst;
}

}  // namespace

Policy fifo_policy() { return {"fifo", by_arrival, next_tokens_first}; }
Policy prefill_first_policy() { return {"prefill-first", by_arrival, prompts_first}; }
Policy shortest_first_policy() { return {"shortest-first", by_length, next_tokens_first}; }
Policy priority_policy() { return {"priority", by_priority, next_tokens_first}; }

std::optional<Policy> find_policy(std::string_view name) {
  for (const Policy& policy :
       {fifo_policy(), prefill_first_policy(), shortest_first_policy(), priority_policy()}) {
    if (policy.name == name) return policy;
  }
  return std::nullopt;
}

}  // namespace spate
