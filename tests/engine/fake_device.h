// A device that computes nothing but notices everything: a slot of its cache holds a hash of all
// tokens up to it, made from the slot before, so a token computed from a wrong, stale or
// overwritten cache gives a wrong answer. It runs plans in order and may run ahead of the host.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/scheduler.h"

namespace spate {

inline std::uint64_t mix(std::uint64_t hash, TokenId token) {
  hash ^= static_cast<std::uint64_t>(token) + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccdULL;
  return hash ^ (hash >> 33);
}

/// The model: the next token after a prefix with this hash, and whether it ends the text.
struct FakeModel {
  std::int64_t mean_length = 1'000'000;  // of answers that stop by themselves

  Outcome sample(std::uint64_t hash) const {
    return {.token = static_cast<TokenId>(hash % 50'000),
            .stop = (hash >> 20) % static_cast<std::uint64_t>(mean_length) == 0};
  }

  /// Prompt and answer, alone and without a cache.
  std::vector<TokenId> complete(std::vector<TokenId> tokens, std::int64_t max_new_tokens) const {
    std::uint64_t hash = 0;
    for (const TokenId token : tokens) hash = mix(hash, token);
    for (std::int64_t i = 0; i < max_new_tokens; ++i) {
      const Outcome outcome = sample(hash);
      tokens.push_back(outcome.token);
      if (outcome.stop) break;
      hash = mix(hash, outcome.token);
    }
    return tokens;
  }
};

class FakeDevice {
 public:
  FakeDevice(const KvAllocator& cache, FakeModel model)
      : cache_(cache),
        model_(model),
        slots_(static_cast<std::size_t>(cache.capacity_blocks() * cache.block_tokens())) {}

  /// Runs a plan at once; the host learns the outcomes when it commits.
  std::vector<Outcome> run(const Plan& plan, const Scheduler& scheduler) {
    const std::int64_t n = cache_.block_tokens();
    for (const KvCopy& copy : plan.copies) {
      for (std::int64_t i = 0; i < copy.n_tokens; ++i) {
        slots_[static_cast<std::size_t>(copy.target_block * n + i)] =
            slots_[static_cast<std::size_t>(copy.source_block * n + i)];
      }
    }
    std::vector<Outcome> outcomes;
    for (const Chunk& chunk : plan.chunks) {
      const std::uint64_t hash = compute(chunk, scheduler.find(chunk.sequence)->tokens);
      if (!chunk.samples) continue;
      outcomes.push_back(model_.sample(hash));
      sampled_[{chunk.sequence, chunk.first + chunk.count}] = outcomes.back().token;
    }
    return outcomes;
  }

 private:
  std::uint64_t compute(const Chunk& chunk, const std::vector<TokenId>& tokens) {
    std::uint64_t hash = chunk.first == 0 ? 0 : slot(chunk.sequence, chunk.first - 1);
    for (std::int64_t i = chunk.first; i < chunk.first + chunk.count; ++i) {
      TokenId token = tokens[static_cast<std::size_t>(i)];
      if (token == kTokenInFlight) {
        EXPECT_EQ(chunk.count, 1);
        token = sampled_.at({chunk.sequence, i});
      }
      hash = mix(hash, token);
      slot(chunk.sequence, i) = hash;
    }
    return hash;
  }

  std::uint64_t& slot(SequenceId sequence, std::int64_t position) {
    const std::int64_t n = cache_.block_tokens();
    const std::int64_t block = cache_.block_ids(sequence)[static_cast<std::size_t>(position / n)];
    return slots_[static_cast<std::size_t>(block * n + position % n)];
  }

  const KvAllocator& cache_;
  FakeModel model_;
  std::vector<std::uint64_t> slots_;
  std::map<std::pair<SequenceId, std::int64_t>, TokenId> sampled_{};
};

/// The engine's loop. With `n_ahead` = 1 the next plan is made before the last is committed.
class FakeEngine {
 public:
  FakeEngine(const SchedulerOptions& options, KvAllocator& cache, FakeModel model,
             std::int64_t n_ahead)
      : scheduler(options, cache), device_(cache, model), n_ahead_(n_ahead) {}

  Scheduler scheduler;
  std::map<SequenceId, std::vector<TokenId>> done{};
  std::int64_t max_preemptions = 0;  // of one sequence
  std::int64_t n_steps = 0;

  /// One step; the plan it started, empty if there was nothing to do.
  const Plan& step() {
    Plan plan;
    scheduler.next(plan, {});
    plan_ = plan;
    if (!plan.empty()) {
      auto outcomes = device_.run(plan, scheduler);
      under_way_.emplace_back(std::move(plan), std::move(outcomes));
      ++n_steps;
    }
    const auto n_keep = plan_.empty() ? 0U : static_cast<std::size_t>(n_ahead_);
    while (under_way_.size() > n_keep) commit();
    return plan_;
  }

  /// Steps until all is done; false when it takes more than the limit, or stands still.
  bool run_until_idle(std::int64_t max_steps) {
    while (scheduler.has_work() || !under_way_.empty()) {
      const bool was_under_way = !under_way_.empty();
      if (step().empty() && !was_under_way) return false;
      if (n_steps > max_steps) return false;
    }
    return true;
  }

 private:
  void commit() {
    const auto& [plan, outcomes] = under_way_.front();
    for (const SequenceId id : scheduler.commit(plan, outcomes)) {
      const Sequence& sequence = *scheduler.find(id);
      max_preemptions = std::max(max_preemptions, sequence.n_preemptions);
      done[id] = sequence.tokens;
      scheduler.forget(id);
    }
    under_way_.pop_front();
  }

  FakeDevice device_;
  std::int64_t n_ahead_;
  Plan plan_{};
  std::deque<std::pair<Plan, std::vector<Outcome>>> under_way_{};
};

}  // namespace spate
