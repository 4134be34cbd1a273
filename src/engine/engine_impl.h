// The engine's inside: one thread owns everything here but the mailbox and what is const after
// creation.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "chat/template.h"
#include "device/device.h"
#include "engine/executor.h"
#include "engine/gpu_weights.h"
#include "engine/mailbox.h"
#include "engine/model_loader.h"
#include "engine/scheduler.h"
#include "kv/allocator.h"
#include "sample/scratch.h"
#include "spate/engine.h"
#include "tokenizer/tokenizer.h"

namespace spate {

class Engine::Impl {
 public:
  static Result<std::unique_ptr<Impl>> create(const EngineOptions& options);
  static Result<ModelInfo> inspect(const EngineOptions& options);

  Result<RequestId> submit(Request request);
  void cancel(RequestId id) { mailbox_.post(CancelOrder{id}); }
  bool step();
  EngineStats stats() const;
  void set_profile(Profile* profile) { device_->set_profile(profile); }

  // const after creation
  EngineOptions options;
  ModelInfo info;
  SamplingParams default_sampling;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the folder has none
  std::unique_ptr<ChatTemplate> chat_template;
  std::unique_ptr<LoadedModel> model;

 private:
  Impl() = default;

  /// One row of logits and what is to be made of it.
  struct RowWork {
    SequenceId sequence{};
    RequestState* request = nullptr;  // null once the sequence has ended: the row is dropped
    std::int64_t branch = 0;
    std::int64_t position = 0;  // of the token that the row's input was
    bool samples = false;
    bool scores = false;   // the log-probability of the prompt's next token
    bool on_host = false;  // needs the logits themselves
  };
  /// A plan that was launched and not collected.
  struct Flight {
    Plan plan{};
    std::vector<RowWork> rows{};
    bool on_host = false;  // the next plan must wait for what the host samples
    Clock::time_point begin{};
  };

  void read_mail();
  void admit(std::unique_ptr<RequestState> state);
  void cancel_now(RequestId id);
  bool launch_next();
  void collect_oldest();
  void list_rows(Flight& flight);
  void find_requests(Flight& flight);
  void work_on_rows(Flight& flight, const StepResult& result);
  void work_on_row(const RowWork& work, std::span<const float> logits, SamplerScratch& scratch);
  void commit_and_deliver(Flight& flight);
  RequestState* end_sequence(SequenceId sequence);
  void fail_everything(const std::string& why);
  void deliver(RequestState& request, std::int64_t branch, const Stream::Accepted& accepted);
  void finish_if_done(RequestState& request);
  RequestState* request_of(SequenceId sequence, std::int64_t& branch);
  void pack_behind(double step_seconds);

  std::unique_ptr<Device> device_;
  std::unique_ptr<KvAllocator> allocator_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Packer> packer_;           // on the CPU
  std::unique_ptr<GpuWeights> gpu_weights_;  // on a GPU
  bool packed_ = false;
  std::optional<Error> failure_{};  // of the device: nothing runs any more

  Mailbox mailbox_;
  std::atomic<RequestId> next_id_{0};
  std::map<RequestId, std::unique_ptr<RequestState>> requests_;

  // reused every step
  std::vector<Mail> mail_;
  std::array<Flight, 2> flights_{};
  std::size_t first_flight_ = 0;  // the oldest
  std::size_t n_flying_ = 0;
  std::vector<RowOrder> orders_;
  std::vector<Outcome> outcomes_;
  std::vector<SamplerScratch> scratch_;  // one per worker
  EngineStats stats_{};

  friend class EngineBuilder;
};

}  // namespace spate
