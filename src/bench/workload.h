// Requests that measure: random tokens, greedy, no early end. What they reach is counted from
// outside, through the engine's public interface.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/phase.h"
#include "spate/engine.h"

namespace spate::bench {

struct Lengths {
  std::int64_t input = 0;
  std::int64_t output = 0;
};

/// Lengths from a trace: [[input, output], ...] or {"entries": [{"prompt_length",
/// "response_length"}, ...]}; at most `limit` of them, repeated from the start when there are
/// fewer; 0: as many as there are.
Result<std::vector<Lengths>> read_trace(const std::string& path, std::int64_t limit);
Result<std::vector<Lengths>> parse_trace(std::string_view text, std::string_view source,
                                         std::int64_t limit);

/// Tokens that depend on `seed` alone.
std::vector<TokenId> random_tokens(std::int64_t n, std::int64_t vocab, std::uint64_t seed);

/// A greedy request of these lengths that ends at its length only.
Request request_of(const Lengths& lengths, std::int64_t vocab, std::uint64_t seed);

/// Runs short requests until the weights are packed: later steps cost what they always will.
Result<void> warm_up(Engine& engine);

struct ThroughputRun {
  double seconds = 0.0;
  std::int64_t requests = 0, prompt_tokens = 0, output_tokens = 0;
  std::int64_t steps = 0, preemptions = 0;
  double mean_batch = 0.0;  // sequences in a step
  std::vector<double> step_seconds{};
  DeviceShare device{};
  double gpu_joules = 0.0;  // 0: not known
};

/// All requests at once, until the last is done.
Result<ThroughputRun> run_throughput(Engine& engine, const std::vector<Lengths>& lengths,
                                     Profile* profile = nullptr);

struct PrefillRun {
  double seconds = 0.0;                 // of the steps that computed the prompt's last `n` tokens
  double seconds_to_first_token = 0.0;  // from submit, whatever came before the n
  DeviceShare device{};
};

struct PrefillShape {
  std::int64_t tokens = 512;
  std::int64_t depth = 0;          // tokens before them; a multiple of step_tokens
  std::int64_t step_tokens = 512;  // the engine's max_batch_tokens
};

/// Computes a prompt's last tokens; those before them are neither timed nor profiled.
Result<PrefillRun> run_prefill(Engine& engine, const PrefillShape& shape,
                               Profile* profile = nullptr);

struct DecodeShape {
  std::int64_t batch = 1;
  std::int64_t steps = 64;
  std::int64_t depth = 0;          // tokens of the prompts; at least 1
  std::int64_t step_tokens = 512;  // the engine's max_batch_tokens
};

struct DecodeRun {
  double seconds = 0.0;
  std::vector<double> step_seconds{};
  DeviceShare device{};
};

/// Steps with all sequences decoding; the prompts are computed before, untimed.
Result<DecodeRun> run_decode(Engine& engine, const DecodeShape& shape, Profile* profile = nullptr);

}  // namespace spate::bench
