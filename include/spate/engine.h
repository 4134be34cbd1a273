// The engine: loads a model, takes requests, batches them continuously, streams their tokens.
// The only class that a program constructs. See examples/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "spate/request.h"
#include "spate/result.h"

namespace spate {

class Profile;  // src/device/profile.h

/// How to load and run a model. Defaults serve a laptop; every field has a command-line option of
/// the same name.
struct EngineOptions {
  std::string model{};         // a folder, a file, or the name of a built-in model; empty: built-in
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1"
  std::string dtype = "auto";  // arithmetic: auto (as the weights are stored), f32, bf16, f16
  std::string weights = "auto";       // auto (as stored), q8, q4; on a GPU fp8 too
  std::string kv_dtype = "auto";      // auto, f32, f16, bf16, int8; on a GPU as dtype, or fp8, int8
  std::string kv_cache = "segment";   // segment, paged
  std::int64_t kv_memory = 0;         // bytes; 0: from what the machine has left
  std::int64_t context_length = 0;    // tokens; 0: the model's own
  int threads = 0;                    // 0: one per usable core
  std::string isa = "auto";           // auto, amx, avx512 (without AMX), avx2, generic
  std::int64_t max_batch_tokens = 0;  // 0: 512 on a CPU, 8192 on a GPU
  std::int64_t max_requests = 0;      // running at once; 0: 256 on a CPU, 1024 on a GPU
  /// When a request may join those that run: lookahead (when the expected lengths fit the cache;
  /// preemption corrects what was wrong), exact (when the longest fit; nothing is preempted).
  std::string admission = "lookahead";
  /// Who is served first: fifo, prefill-first, shortest-first, priority.
  std::string policy = "fifo";
  std::uint64_t seed = 0;
  /// On a GPU: a request's bits do not depend on what runs beside it. A CPU always keeps that.
  /// Unset: where it costs next to nothing, that is on Hopper with weights in bf16 or f16.
  std::optional<bool> deterministic = std::nullopt;
  std::string load_format = "auto";  // auto, dummy (random weights of the config's shape)
};

/// One line of the memory plan.
struct MemoryItem {
  std::string name{};
  std::int64_t n_bytes = 0;
  bool page_locked = false;  // memory of the host beside a GPU's; not in the total
};

struct ModelInfo {
  std::string path{};
  std::string architecture{};
  std::int64_t parameters = 0;
  std::int64_t layers = 0, hidden_size = 0, vocab_size = 0;
  std::int64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t context_length = 0;  // what this engine accepts
  std::vector<TokenId> eos_token_ids{};
  std::string weights{}, dtype{}, kv_dtype{}, kv_cache{};
  std::string device{};  // "cpu", or the GPU's name
  bool deterministic = true;
  std::int64_t max_batch_tokens = 0, max_requests = 0;
  std::int64_t kv_tokens = 0;     // capacity of the cache
  std::int64_t weight_bytes = 0;  // read by one decoding step, as stored for arithmetic
  std::vector<MemoryItem> memory{};
  double load_seconds = 0.0;
};

/// Counters since creation.
struct EngineStats {
  std::int64_t steps = 0, prompt_tokens = 0, generated_tokens = 0, preemptions = 0;
  std::int64_t running = 0, waiting = 0, kv_blocks_used = 0, kv_blocks = 0;
  bool packed = false;  // the weights lie as kernels like them best; steps get no faster
  /// Of a GPU, while there was work: in steps and between them. Zeros on the CPU.
  double device_busy_seconds = 0.0, device_idle_seconds = 0.0;
};

/// A message of a conversation: roles are "system", "user", "assistant".
struct ChatMessage {
  std::string role{};
  std::string content{};
  /// What else the model's template reads of a message: {"reasoning_content", "..."}, {"name",
  /// ...}.
  std::map<std::string, std::string> fields{};
};

/// Thread rule: submit and cancel may be called from any thread; everything else from the one
/// thread that steps the engine.
class Engine {
 public:
  class Impl;  // src/engine/engine_impl.h

  static Result<std::unique_ptr<Engine>> create(const EngineOptions& options);
  /// What `create` would make of these options, memory plan included, without making it.
  static Result<ModelInfo> inspect(const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  const ModelInfo& info() const;
  EngineStats stats() const;
  /// Sampling defaults of the model's generation_config.json.
  SamplingParams default_sampling() const;

  /// Tokens of `text`, with the special tokens that the model wants in front.
  Result<std::vector<TokenId>> tokenize(std::string_view text) const;
  std::string detokenize(std::span<const TokenId> tokens) const;
  /// A conversation through the model's chat template, ready for its next answer.
  Result<std::vector<TokenId>> tokenize_chat(std::span<const ChatMessage> messages) const;
  /// The same from JSON: {"messages": [...], "tools"?: [...], "chat_template_kwargs"?: {...}} with
  /// messages in OpenAI's shape.
  Result<std::vector<TokenId>> tokenize_chat_json(std::string_view conversation) const;

  /// Queues a request. Refused at once, with the numbers, if it could never fit.
  Result<RequestId> submit(Request request);
  /// Ends a request; its memory is free within a step. Unknown ids are ignored.
  void cancel(RequestId id);

  /// Runs one step: schedule, forward, sample, deliver. False when there is nothing to do.
  bool step();
  /// Steps until every request is done.
  void run_until_idle();
  /// Adds the time of every operator of later steps to `profile`; null: no longer. Borrowed until
  /// the steps that began meanwhile are done.
  void set_profile(Profile* profile);
  /// Submits one request, runs the engine until it is done and returns its result.
  Result<RequestResult> complete(Request request);

 private:
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace spate
