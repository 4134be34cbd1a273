// Which chunks run next. Owns the sequences, decides who holds cache, and knows no device, no
// clock and no thread: a plan is a function of the calls made so far. Engine thread only.
//
//   scheduler.add(spec); ... scheduler.next(plan, budget); run it; scheduler.commit(plan, outcomes)
//
// To keep a device fed, next() may be called again before the last plan is committed: tokens not
// yet known stand as kTokenInFlight. A stop seen one step late drops the token sampled meanwhile.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/admission.h"
#include "engine/plan.h"
#include "engine/policies.h"
#include "engine/sequence.h"
#include "kv/allocator.h"
#include "spate/result.h"

namespace spate {

struct SchedulerOptions {
  std::int64_t max_batch_tokens = 2048;  // rows of one plan, at most
  std::int64_t max_requests = 256;       // sequences that hold cache, at most
  /// Rows of logits in one plan besides those that are sampled, at most: memory for them is
  /// planned.
  std::int64_t max_scores = std::numeric_limits<std::int64_t>::max();
  /// Generated tokens that one plan computes anew after preemptions, at most: some kernels take
  /// them one by one.
  std::int64_t max_recomputed = std::numeric_limits<std::int64_t>::max();
  std::int64_t context_length = std::numeric_limits<std::int64_t>::max();  // the model's
  AdmissionOptions admission{};
  Policy policy = fifo_policy();
};

/// What one plan may use. Never more than the options allow; less, to bound a step's time.
struct StepBudget {
  std::int64_t n_tokens = std::numeric_limits<std::int64_t>::max();
};

struct SchedulerStats {
  std::int64_t n_waiting = 0;
  std::int64_t n_running = 0;
  std::int64_t n_finished = 0;
  std::int64_t n_preemptions = 0;
  std::int64_t n_recomputed_tokens = 0;  // computed, lost to preemption
};

class Scheduler {
 public:
  /// The allocator is borrowed and the scheduler its only user.
  Scheduler(const SchedulerOptions& options, KvAllocator& cache);

  /// Whether such a sequence can ever run: within the context and the whole cache.
  Result<void> admissible(std::int64_t n_prompt, std::int64_t max_new_tokens) const;

  /// Queues a sequence, or says why it can never run.
  Result<SequenceId> add(SequenceSpec spec);

  /// Ends a sequence wherever it is and forgets it; its cache is free when this returns. What
  /// plans in flight still sample for it is dropped. False: unknown, nothing to do.
  bool cancel(SequenceId id);

  /// Fills `plan` with the next step. An empty plan: nothing to do until add, cancel or commit.
  void next(Plan& plan, const StepBudget& budget);

  /// Tells what a plan gave: one outcome for each chunk with `samples`, in order. Plans are
  /// committed in the order of next(). Returns those that finished, valid until the next commit.
  std::span<const SequenceId> commit(const Plan& plan, std::span<const Outcome> outcomes);

  /// Null for the unknown and forgotten. Valid until cancel or forget of that sequence.
  const Sequence* find(SequenceId id) const;
  /// Whether an outcome for this sequence will be kept: it is known and not finished.
  bool is_live(SequenceId id) const;
  /// Drops a finished sequence's tokens.
  void forget(SequenceId id);

  bool has_work() const { return n_live_ > 0; }
  std::int64_t n_plans_in_flight() const { return next_step_ - next_commit_; }
  SchedulerStats stats() const;

 private:
  // Seniority with the id to break ties: a strict order that never changes for a sequence.
  using Rank = std::pair<std::int64_t, SequenceId>;

  // What is left of a step's budget. A prompt that was cut ends the step for other prompts.
  struct Budget {
    std::int64_t n_tokens = 0;
    std::int64_t n_scores = 0;
    std::int64_t n_recomputed = 0;
    bool prompt_cut = false;
  };

  static Rank rank(const Sequence& sequence) { return {sequence.seniority, sequence.id}; }
  static bool more_senior(const Sequence* a, const Sequence* b) { return rank(*a) < rank(*b); }
  static Candidate candidate(const Sequence& sequence);
  Sequence* lookup(SequenceId id) const;
  std::int64_t free_place();
  Turn turn_of(const Sequence& sequence) const;
  std::int64_t slots_for(const Sequence& sequence) const;

  bool secure_memory(Plan& plan);
  bool make_room(Sequence& sequence, Plan& plan);
  void preempt_most_junior(Plan& plan);
  void serve_running(Plan& plan, Turn turn, Budget& budget);
  void serve_waiting(Plan& plan, Budget& budget);
  bool try_admit(Sequence& sequence, Plan& plan);
  std::optional<std::int64_t> shareable(const Sequence& sequence, const Sequence& elder) const;
  bool place(Sequence& sequence, std::int64_t n_shared, Plan& plan);
  static std::int64_t chunk_tokens(const Sequence& sequence, const Budget& budget);
  void append_chunk(Plan& plan, Sequence& sequence, Budget& budget);

  void accept(Sequence& sequence, std::int64_t position, const Outcome& outcome);
  void finish(Sequence& sequence);
  void leave(Sequence& sequence);
  void recycle(Sequence& sequence);

  SchedulerOptions options_;
  KvAllocator& cache_;
  Admission admission_;
  // Records are reused. An id is a serial number and the record's place, so that finding a
  // sequence is one access and a comparison, and an old id finds nothing.
  std::vector<std::unique_ptr<Sequence>> records_{};
  std::vector<std::int64_t> unused_{};
  std::vector<Sequence*> running_{};  // by rank, most senior first
  std::vector<Turn> turns_{};         // of running_, in this step
  std::set<Rank> waiting_{};
  std::optional<SequenceId> refused_{};  // head of the queue, hopeless until somebody leaves
  std::vector<SequenceId> finished_{};
  std::int64_t next_serial_ = 0;
  std::int64_t next_step_ = 0;
  std::int64_t next_commit_ = 0;
  std::int64_t n_live_ = 0;
  SchedulerStats stats_{};
};

}  // namespace spate
