// The order in which sequences are served, as pure functions of what is known about each. No
// policy can starve a sequence: seniority is fixed on arrival and grows with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace spate {

/// What a policy may look at.
struct Candidate {
  std::int64_t arrival_ns = 0;
  std::int64_t priority = 0;
  std::int64_t n_prompt = 0;
  std::int64_t max_tokens = 0;
  std::int64_t n_remaining = 0;  // tokens to compute before the next can be sampled
  bool running = false;          // holds cache
};

/// When in a step a sequence takes its share of the token budget.
enum class Turn : std::uint8_t { kFirst, kSecond, kThird };

struct Policy {
  std::string_view name{};
  /// Asked once, on arrival. The lower number is admitted first and preempted last; equal ones go
  /// by arrival at the scheduler.
  std::int64_t (*seniority)(const Candidate&) = nullptr;
  /// Asked in every step; within a turn the more senior goes first. Waiting sequences are asked as
  /// one: all have the turn of the first of them.
  Turn (*turn)(const Candidate&) = nullptr;
};

/// First come, first served; running sequences take their next token before prompts go on. Answers
/// flow evenly and prompts use what is left of the budget: the default.
Policy fifo_policy();
/// First come, first served; prompts go before next tokens. Fills the batch soonest.
Policy prefill_first_policy();
/// Short requests first, where a token of length weighs as much as some waiting.
Policy shortest_first_policy();
/// Lower numbers of priority first, where one step of priority weighs as much as some waiting.
Policy priority_policy();

/// By its name: "fifo", "prefill-first", "shortest-first", "priority".
std::optional<Policy> find_policy(std::string_view name);

}  // namespace spate
