// Scheduler::next. First memory, in order of seniority, so that the most senior always goes on and
// nothing can stand still; then tokens, in the order of the policy.
#include <algorithm>

#include "core/check.h"
#include "engine/scheduler.h"

namespace spate {
namespace {

// Room for tokens made on admission, so that steps seldom allocate.
constexpr std::int64_t kTokensAhead = 1024;

}  // namespace

void Scheduler::next(Plan& plan, const StepBudget& step_budget) {
  plan.step = next_step_;
  plan.chunks.clear();
  plan.copies.clear();
  plan.preempted.clear();
  plan.n_tokens = plan.n_logits = plan.n_samples = 0;
  admission_.begin_step();
  const bool all_have_memory = secure_memory(plan);

  turns_.clear();
  for (const Sequence* sequence : running_) turns_.push_back(turn_of(*sequence));
  Budget budget{.n_tokens = std::min(step_budget.n_tokens, options_.max_batch_tokens),
                .n_scores = options_.max_scores,
                .n_recomputed = options_.max_recomputed};
  Turn waiting_turn = Turn::kThird;
  if (!waiting_.empty()) waiting_turn = turn_of(*lookup(waiting_.begin()->second));
  for (const Turn turn : {Turn::kFirst, Turn::kSecond, Turn::kThird}) {
    serve_running(plan, turn, budget);
    if (turn == waiting_turn && all_have_memory) serve_waiting(plan, budget);
  }
  if (!std::ranges::is_sorted(running_, more_senior)) std::ranges::sort(running_, more_senior);
  if (!plan.empty()) ++next_step_;
}

Candidate Scheduler::candidate(const Sequence& sequence) {
  return {.arrival_ns = sequence.arrival_ns,
          .priority = sequence.priority,
          .n_prompt = sequence.n_prompt,
          .max_tokens = sequence.max_tokens,
          .n_remaining = sequence.n_remaining(),
          .running = sequence.status == SequenceStatus::kRunning};
}

Turn Scheduler::turn_of(const Sequence& sequence) const {
  return options_.policy.turn(candidate(sequence));
}

// Whole blocks, so that the allocator is asked once a block and not once a token.
std::int64_t Scheduler::slots_for(const Sequence& sequence) const {
  const std::int64_t n_whole = cache_.blocks_for(sequence.size()) * cache_.block_tokens();
  return std::min(n_whole, sequence.max_slots());
}

// False when memory is short: somebody was preempted, or waits with what it has.
bool Scheduler::secure_memory(Plan& plan) {
  for (std::size_t i = 0; i < running_.size(); ++i) {  // shrinks from behind
    Sequence& sequence = *running_[i];
    if (sequence.n_remaining() == 0 || sequence.size() <= sequence.n_slots) continue;
    if (!make_room(sequence, plan)) return false;  // this is the last one
  }
  return plan.preempted.empty();
}

bool Scheduler::make_room(Sequence& sequence, Plan& plan) {
  const std::int64_t n_slots = slots_for(sequence);
  while (!cache_.grow(sequence.id, n_slots, plan.copies)) {
    if (running_.back() == &sequence) return false;
    preempt_most_junior(plan);
  }
  sequence.n_slots = n_slots;
  return true;
}

void Scheduler::preempt_most_junior(Plan& plan) {
  Sequence& sequence = *running_.back();
  running_.pop_back();
  cache_.release(sequence.id);
  stats_.n_recomputed_tokens += sequence.n_computed;
  ++stats_.n_preemptions;
  ++sequence.n_preemptions;
  sequence.status = SequenceStatus::kPreempted;
  sequence.n_computed = 0;
  sequence.n_slots = 0;
  waiting_.insert(rank(sequence));
  refused_.reset();
  plan.preempted.push_back(sequence.id);
}

void Scheduler::serve_running(Plan& plan, Turn turn, Budget& budget) {
  for (std::size_t i = 0; i < turns_.size() && budget.n_tokens > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (turns_[i] != turn || sequence.n_remaining() == 0) continue;
    if (sequence.size() > sequence.n_slots) continue;  // no memory in this step
    if (budget.prompt_cut && sequence.n_remaining() > 1) continue;
    append_chunk(plan, sequence, budget);
  }
}

// In order of seniority and no further than the first that must wait, so that nobody is overtaken
// for ever by smaller ones.
void Scheduler::serve_waiting(Plan& plan, Budget& budget) {
  while (budget.n_tokens > 0 && !budget.prompt_cut && !waiting_.empty()) {
    if (static_cast<std::int64_t>(running_.size()) >= options_.max_requests) return;
    Sequence& sequence = *lookup(waiting_.begin()->second);
    if (!try_admit(sequence, plan)) return;
    waiting_.erase(waiting_.begin());
    sequence.status = SequenceStatus::kRunning;
    running_.push_back(&sequence);  // next() restores the order
    append_chunk(plan, sequence, budget);
  }
}

bool Scheduler::try_admit(Sequence& sequence, Plan& plan) {
  if (sequence.n_in_flight > 0) return false;  // preempted; its last token is on its way
  if (refused_ == sequence.id) return false;
  std::int64_t n_shared = 0;
  const Sequence* elder = sequence.same_prompt_as ? lookup(*sequence.same_prompt_as) : nullptr;
  if (elder != nullptr && elder->status == SequenceStatus::kRunning) {
    const auto n = shareable(sequence, *elder);
    if (!n) return false;
    n_shared = *n;
  }
  const std::int64_t n_blocks =
      cache_.blocks_for(slots_for(sequence)) - n_shared / cache_.block_tokens();
  if (!admission_.allows(sequence, n_blocks, running_)) {
    refused_ = sequence.id;
    return false;
  }
  return place(sequence, n_shared, plan);
}

// How much of the elder's cache an equal prompt may share; nothing yet, if the elder's prompt is
// still being computed. At least the last token is left, since its logits are wanted.
std::optional<std::int64_t> Scheduler::shareable(const Sequence& sequence,
                                                 const Sequence& elder) const {
  const std::int64_t n_wanted = std::min(sequence.n_prompt - 1, sequence.next_logits);
  const std::int64_t n_computed =
      elder.last_step == next_step_ ? elder.last_first : elder.n_computed;  // by earlier plans
  const std::int64_t n_common = std::min(n_wanted, elder.n_prompt);
  if (n_computed < n_common) return std::nullopt;
  const auto end = sequence.tokens.begin() + n_common;
  return std::mismatch(sequence.tokens.begin(), end, elder.tokens.begin()).first -
         sequence.tokens.begin();
}

bool Scheduler::place(Sequence& sequence, std::int64_t n_shared, Plan& plan) {
  const std::int64_t n_slots = slots_for(sequence);
  if (n_shared == 0) {
    const std::int64_t n_expected =
        std::min(sequence.max_slots(), sequence.n_prompt + admission_.expected_new_tokens());
    if (!cache_.admit(sequence.id, {.n_tokens = n_slots, .n_expected = n_expected})) return false;
  } else {
    cache_.fork(*sequence.same_prompt_as, sequence.id, n_shared);
    if (!cache_.grow(sequence.id, n_slots, plan.copies)) {
      cache_.release(sequence.id);
      return false;
    }
  }
  sequence.n_computed = n_shared;
  sequence.n_slots = n_slots;
  sequence.tokens.reserve(
      static_cast<std::size_t>(std::min(sequence.max_tokens, sequence.size() + kTokensAhead)));
  return true;
}

// As many tokens as the budget has, also of rows that are scored: the last row of a chunk that
// samples has room of its own.
std::int64_t Scheduler::chunk_tokens(const Sequence& sequence, const Budget& budget) {
  const std::int64_t n_prompt = std::max<std::int64_t>(sequence.n_prompt - sequence.n_computed, 0);
  const std::int64_t n_wanted = std::min(sequence.n_remaining(), budget.n_tokens);
  // One generated token is what everybody computes.
  const std::int64_t n_anew = std::max<std::int64_t>(n_wanted - n_prompt - 1, 0);
  const std::int64_t n_most = n_wanted - std::max<std::int64_t>(n_anew - budget.n_recomputed, 0);
  const std::int64_t n_before =
      std::max<std::int64_t>(sequence.next_logits - sequence.n_computed, 0);
  const std::int64_t end = sequence.n_computed + n_most;
  const bool samples = end == sequence.size() && end < sequence.max_tokens;
  const std::int64_t n_scores = n_most - n_before - (samples ? 1 : 0);
  return n_scores <= budget.n_scores ? n_most : n_before + budget.n_scores;
}

void Scheduler::append_chunk(Plan& plan, Sequence& sequence, Budget& budget) {
  Chunk chunk{.sequence = sequence.id,
              .first = sequence.n_computed,
              .count = chunk_tokens(sequence, budget)};
  if (chunk.count == 0) {  // its turn comes when fewer rows are scored
    budget.prompt_cut = true;
    return;
  }
  if (chunk.count < sequence.n_remaining()) {
    budget.prompt_cut = true;
    // Cut at the end of a block where possible: the next chunk starts with whole panels.
    const std::int64_t n_over = (chunk.first + chunk.count) % cache_.block_tokens();
    if (n_over < chunk.count) chunk.count -= n_over;
  }
  const std::int64_t end = chunk.first + chunk.count;
  const std::int64_t n_generated = end - std::max(chunk.first, sequence.n_prompt);
  budget.n_recomputed -= std::max<std::int64_t>(n_generated - 1, 0);
  chunk.n_logits = std::max<std::int64_t>(end - std::max(chunk.first, sequence.next_logits), 0);
  chunk.samples = end == sequence.size() && end < sequence.max_tokens;
  sequence.next_logits = std::max(sequence.next_logits, end);
  sequence.last_step = plan.step;
  sequence.last_first = chunk.first;
  sequence.n_computed = end;
  ++sequence.n_in_flight;
  if (chunk.samples) sequence.tokens.push_back(kTokenInFlight);
  budget.n_tokens -= chunk.count;
  budget.n_scores -= std::max<std::int64_t>(chunk.n_logits - (chunk.samples ? 1 : 0), 0);
  plan.n_tokens += chunk.count;
  plan.n_logits += chunk.n_logits;
  plan.n_samples += chunk.samples ? 1 : 0;
  plan.chunks.push_back(chunk);
}

}  // namespace spate
