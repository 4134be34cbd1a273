#include "bench/workload.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "bench/stopwatch.h"
#include "core/json.h"

namespace spate::bench {
namespace {

using Clock = std::chrono::steady_clock;

std::optional<Lengths> lengths_of(const Json& entry) {
  const auto positive = [](const Json& j) { return j.is_number_integer() && j > 0; };
  if (entry.is_array() && entry.size() == 2 && positive(entry[0]) && positive(entry[1])) {
    return Lengths{.input = entry[0], .output = entry[1]};
  }
  if (!entry.is_object()) return std::nullopt;
  const Json input = entry.value("prompt_length", Json());
  const Json output = entry.value("response_length", Json());
  if (!positive(input) || !positive(output)) return std::nullopt;
  return Lengths{.input = input, .output = output};
}

/// A step, timed.
double timed_step(Engine& engine) {
  const Clock::time_point begin = Clock::now();
  engine.step();
  return seconds_since(begin);
}

/// The device's part of what happened since `before`.
DeviceShare device_since(const EngineStats& before, const Engine& engine) {
  const EngineStats after = engine.stats();
  return {.busy_seconds = after.device_busy_seconds - before.device_busy_seconds,
          .idle_seconds = after.device_idle_seconds - before.device_idle_seconds};
}

/// Ends what a measurement has left behind.
void cancel_all(Engine& engine, const std::vector<RequestId>& ids) {
  for (const RequestId id : ids) engine.cancel(id);
  engine.run_until_idle();
}

}  // namespace

Result<std::vector<Lengths>> parse_trace(std::string_view text, std::string_view source,
                                         std::int64_t limit) {
  const Result<Json> json = parse_json(text, source);
  if (!json) return json.error();
  const bool has_entries = json->is_object() && json->contains("entries");
  const Json& entries = has_entries ? (*json)["entries"] : *json;
  if (!entries.is_array() || entries.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: no requests; expected [[input, output], ...] or {{\"entries\": "
                             "[{{\"prompt_length\", \"response_length\"}}, ...]}}",
                             source)};
  }
  std::vector<Lengths> own;
  for (const Json& entry : entries) {
    const std::optional<Lengths> lengths = lengths_of(entry);
    if (!lengths) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("{}: request {} has no positive input and output length", source,
                               own.size())};
    }
    own.push_back(*lengths);
  }
  const std::size_t n = limit > 0 ? static_cast<std::size_t>(limit) : own.size();
  std::vector<Lengths> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(own[i % own.size()]);
  return out;
}

Result<std::vector<Lengths>> read_trace(const std::string& path, std::int64_t limit) {
  const Result<std::string> text = read_file(path);
  if (!text) return text.error();
  return parse_trace(*text, path, limit);
}

std::vector<TokenId> random_tokens(std::int64_t n, std::int64_t vocab, std::uint64_t seed) {
  std::vector<TokenId> tokens;
  tokens.reserve(static_cast<std::size_t>(n));
  std::uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
  for (std::int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;  // Knuth's MMIX
    tokens.push_back(static_cast<TokenId>((state >> 33U) % static_cast<std::uint64_t>(vocab)));
  }
  return tokens;
}

Request request_of(const Lengths& lengths, std::int64_t vocab, std::uint64_t seed) {
  Request request{.prompt = random_tokens(lengths.input, vocab, seed)};
  request.sampling.max_tokens = lengths.output;
  request.sampling.temperature = 0.0F;
  request.sampling.ignore_eos = true;
  return request;
}

Result<void> warm_up(Engine& engine) {
  do {
    const Result<RequestResult> done =
        engine.complete(request_of({.input = 8, .output = 8}, engine.info().vocab_size, 1));
    if (!done) return done.error();
  } while (!engine.stats().packed);
  return {};
}

namespace {

void add_result(const RequestResult& r, ThroughputRun& run, std::optional<Error>& failed) {
  run.requests += 1;
  run.prompt_tokens += r.prompt_tokens;
  run.output_tokens += r.completion_tokens;
  for (const Completion& c : r.completions) {
    if (c.error) failed = c.error;
  }
}

/// Queues a request of each length; what they produce is added to `run`.
Result<void> submit_all(Engine& engine, const std::vector<Lengths>& lengths, ThroughputRun& run,
                        std::optional<Error>& failed) {
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Request request = request_of(lengths[i], engine.info().vocab_size, i);
    request.on_done = [&](const RequestResult& r) { add_result(r, run, failed); };
    const Result<RequestId> id = engine.submit(std::move(request));
    if (!id) return id.error();
  }
  return {};
}

}  // namespace

Result<ThroughputRun> run_throughput(Engine& engine, const std::vector<Lengths>& lengths,
                                     Profile* profile) {
  ThroughputRun run;
  const EngineStats before = engine.stats();
  std::optional<Error> failed;
  const Clock::time_point begin = Clock::now();
  const Result<void> submitted = submit_all(engine, lengths, run, failed);
  if (!submitted) return submitted.error();
  std::int64_t sequences = 0;
  engine.set_profile(profile);
  for (;;) {
    const Clock::time_point step_begin = Clock::now();
    const std::int64_t ended = run.requests;
    if (!engine.step()) break;
    run.step_seconds.push_back(seconds_since(step_begin));
    sequences += engine.stats().running + run.requests - ended;
  }
  run.seconds = seconds_since(begin);
  engine.set_profile(nullptr);
  run.device = device_since(before, engine);
  if (failed) return *failed;
  const EngineStats after = engine.stats();
  run.steps = after.steps - before.steps;
  run.preemptions = after.preemptions - before.preemptions;
  run.mean_batch =
      static_cast<double>(sequences) / static_cast<double>(std::max<std::int64_t>(1, run.steps));
  return run;
}

Result<PrefillRun> run_prefill(Engine& engine, const PrefillShape& shape, Profile* profile) {
  PrefillRun run;
  Request request =
      request_of({.input = shape.depth + shape.tokens, .output = 1}, engine.info().vocab_size, 7);
  bool done = false;
  request.on_done = [&](const RequestResult& r) {
    run.seconds_to_first_token = r.seconds_to_first_token;
    done = true;
  };
  const Result<RequestId> id = engine.submit(std::move(request));
  if (!id) return id.error();
  std::int64_t computed = 0;
  EngineStats before = engine.stats();
  while (!done) {
    const bool counts = computed >= shape.depth;
    if (!counts) before = engine.stats();
    engine.set_profile(counts ? profile : nullptr);
    const double seconds = timed_step(engine);
    if (counts) run.seconds += seconds;
    computed += shape.step_tokens;
  }
  engine.set_profile(nullptr);
  run.device = device_since(before, engine);
  return run;
}

Result<DecodeRun> run_decode(Engine& engine, const DecodeShape& shape, Profile* profile) {
  const std::int64_t prompt = std::max<std::int64_t>(1, shape.depth);
  // The first sequences decode while the last prompts are still being computed.
  const std::int64_t ahead = shape.batch + shape.batch * prompt / shape.step_tokens + 2;
  std::vector<RequestId> ids;
  for (std::int64_t i = 0; i < shape.batch; ++i) {
    const Result<RequestId> id =
        engine.submit(request_of({.input = prompt, .output = shape.steps + ahead},
                                 engine.info().vocab_size, static_cast<std::uint64_t>(i)));
    if (!id) {
      cancel_all(engine, ids);
      return id.error();
    }
    ids.push_back(*id);
  }
  const auto all_generate = [&] {
    const std::int64_t before = engine.stats().generated_tokens;
    engine.step();
    return engine.stats().generated_tokens - before == shape.batch;
  };
  for (std::int64_t i = 0; !all_generate(); ++i) {
    if (i <= ahead) continue;
    cancel_all(engine, ids);
    return Error{
        ErrorCode::kOutOfMemory,
        fmt::format("{} sequences at depth {} do not run at once: the cache has {} tokens, "
                    "the engine's limits are --max-requests and --max-batch-tokens",
                    shape.batch, prompt, engine.info().kv_tokens)};
  }
  DecodeRun run;
  const EngineStats before = engine.stats();
  engine.set_profile(profile);
  for (std::int64_t i = 0; i < shape.steps; ++i) run.step_seconds.push_back(timed_step(engine));
  engine.set_profile(nullptr);
  run.seconds = std::accumulate(run.step_seconds.begin(), run.step_seconds.end(), 0.0);
  run.device = device_since(before, engine);
  cancel_all(engine, ids);
  return run;
}

}  // namespace spate::bench
