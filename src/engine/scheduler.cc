#include "engine/scheduler.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/check.h"

namespace spate {
namespace {

// An id is serial * kMaxRecords + place.
constexpr std::int64_t kMaxRecords = 1 << 24;

std::size_t place_of(SequenceId id) {
  return static_cast<std::size_t>(static_cast<std::int64_t>(id) % kMaxRecords);
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, KvAllocator& cache)
    : options_(options), cache_(cache), admission_(options.admission, cache) {
  SPATE_CHECK_OP(options.max_batch_tokens, >, 0);
  SPATE_CHECK_OP(options.max_requests, >, 0);
  SPATE_CHECK_OP(options.max_scores, >, 0);
  // Every running sequence can take its next token in every step.
  options_.max_requests = std::min(options.max_requests, options.max_batch_tokens);
}

Result<void> Scheduler::admissible(std::int64_t n_prompt, std::int64_t max_new_tokens) const {
  if (n_prompt < 1) {
    return Error{ErrorCode::kInvalidArgument, "the prompt is empty; give at least one token"};
  }
  if (max_new_tokens < 0) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("max_tokens is {}; it cannot be negative", max_new_tokens)};
  }
  // Compared by subtraction: a caller's max_tokens may be as large as its type.
  if (n_prompt > options_.context_length || max_new_tokens > options_.context_length - n_prompt) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("the prompt has {} tokens and max_tokens is {}, together more than "
                             "the context of {}; shorten the prompt or lower max_tokens",
                             n_prompt, max_new_tokens, options_.context_length)};
  }
  const std::int64_t n_slots = max_new_tokens == 0 ? n_prompt : n_prompt + max_new_tokens - 1;
  if (!cache_.can_ever_fit(n_slots)) {
    return Error{ErrorCode::kOutOfMemory,
                 fmt::format("the prompt has {} tokens and max_tokens is {}: {} blocks of the KV "
                             "cache, which has {} of {} tokens each; give more KV memory, shorten "
                             "the prompt or lower max_tokens",
                             n_prompt, max_new_tokens, cache_.blocks_for(n_slots),
                             cache_.capacity_blocks(), cache_.block_tokens())};
  }
  return {};
}

std::int64_t Scheduler::free_place() {
  if (unused_.empty()) {
    SPATE_CHECK_OP(static_cast<std::int64_t>(records_.size()), <, kMaxRecords);
    unused_.push_back(static_cast<std::int64_t>(records_.size()));
    records_.push_back(std::make_unique<Sequence>());
  }
  const std::int64_t place = unused_.back();
  unused_.pop_back();
  return place;
}

Result<SequenceId> Scheduler::add(SequenceSpec spec) {
  const auto n_prompt = static_cast<std::int64_t>(spec.prompt.size());
  if (auto ok = admissible(n_prompt, spec.max_new_tokens); !ok) return ok.error();
  SPATE_CHECK_OP(spec.first_logits, >=, 0);
  const std::int64_t place = free_place();
  Sequence& sequence = *records_[static_cast<std::size_t>(place)];
  const std::int64_t serial = ++next_serial_;
  sequence = {.id = SequenceId{serial * kMaxRecords + place},
              .tokens = std::move(spec.prompt),
              .n_prompt = n_prompt,
              .max_tokens = n_prompt + spec.max_new_tokens,
              .fixed_length = spec.fixed_length,
              .next_logits = std::min(spec.first_logits, n_prompt - 1),
              .priority = spec.priority,
              .arrival_ns = spec.arrival_ns,
              .serial = serial,
              .request = spec.request,
              .same_prompt_as = spec.same_prompt_as};
  sequence.seniority = options_.policy.seniority(candidate(sequence));
  waiting_.insert(rank(sequence));
  ++n_live_;
  return sequence.id;
}

Sequence* Scheduler::lookup(SequenceId id) const {
  const std::size_t place = place_of(id);
  if (place >= records_.size()) return nullptr;
  Sequence* sequence = records_[place].get();
  return sequence->id == id ? sequence : nullptr;
}

const Sequence* Scheduler::find(SequenceId id) const { return lookup(id); }

bool Scheduler::is_live(SequenceId id) const {
  const Sequence* sequence = lookup(id);
  return sequence != nullptr && sequence->status != SequenceStatus::kFinished;
}

bool Scheduler::cancel(SequenceId id) {
  Sequence* sequence = lookup(id);
  if (sequence == nullptr) return false;
  const bool live = sequence->status != SequenceStatus::kFinished;
  if (live) leave(*sequence);
  recycle(*sequence);
  return live;
}

void Scheduler::forget(SequenceId id) {
  Sequence* sequence = lookup(id);
  SPATE_CHECK(sequence != nullptr && sequence->status == SequenceStatus::kFinished);
  recycle(*sequence);
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = stats_;
  stats.n_waiting = static_cast<std::int64_t>(waiting_.size());
  stats.n_running = static_cast<std::int64_t>(running_.size());
  return stats;
}

// Plans that were not committed may still name the sequence; lookup fails for them.
void Scheduler::recycle(Sequence& sequence) {
  unused_.push_back(static_cast<std::int64_t>(place_of(sequence.id)));
  sequence.id = SequenceId{};
  sequence.tokens = std::vector<TokenId>();  // the record stays, its memory does not
}

void Scheduler::leave(Sequence& sequence) {
  if (sequence.status == SequenceStatus::kRunning) {
    running_.erase(std::ranges::lower_bound(running_, &sequence, more_senior));
    cache_.release(sequence.id);
  } else {
    waiting_.erase(rank(sequence));
  }
  sequence.n_slots = 0;
  refused_.reset();
  --n_live_;
}

void Scheduler::finish(Sequence& sequence) {
  leave(sequence);
  sequence.status = SequenceStatus::kFinished;
  admission_.observe_finished(sequence);
  ++stats_.n_finished;
  finished_.push_back(sequence.id);
}

std::span<const SequenceId> Scheduler::commit(const Plan& plan, std::span<const Outcome> outcomes) {
  finished_.clear();
  if (plan.empty()) return finished_;
  SPATE_CHECK_OP(plan.step, ==, next_commit_);
  SPATE_CHECK_OP(static_cast<std::int64_t>(outcomes.size()), ==, plan.n_samples);
  ++next_commit_;
  auto outcome = outcomes.begin();
  for (const Chunk& chunk : plan.chunks) {
    const Outcome* sampled = chunk.samples ? &*outcome++ : nullptr;
    Sequence* sequence = lookup(chunk.sequence);
    if (sequence == nullptr || sequence->status == SequenceStatus::kFinished) {
      continue;  // ended while this plan was on its way
    }
    --sequence->n_in_flight;
    const std::int64_t end = chunk.first + chunk.count;
    if (sampled != nullptr) {
      accept(*sequence, end, *sampled);
    } else if (end == sequence->max_tokens) {
      finish(*sequence);
    }
  }
  return finished_;
}

void Scheduler::accept(Sequence& sequence, std::int64_t position, const Outcome& outcome) {
  TokenId& token = sequence.tokens[static_cast<std::size_t>(position)];
  SPATE_CHECK_OP(token, ==, kTokenInFlight);
  SPATE_CHECK_OP(outcome.token, >=, 0);
  token = outcome.token;
  if (!outcome.stop && position + 1 < sequence.max_tokens) return;
  sequence.tokens.resize(static_cast<std::size_t>(position + 1));  // one in flight is dropped
  finish(sequence);
}

}  // namespace spate
