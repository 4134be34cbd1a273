// What the subcommands share: the options of an engine and of sampling, where built-in models are,
// exit codes.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "spate/engine.h"

namespace spate::apps {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

/// Prints one clear line to stderr; returns the exit code.
int fail(const Error& error);

/// Adds --model, --device, --dtype, ...; a value that can never be right is wrong usage.
void add_engine_options(CLI::App& command, EngineOptions& options);

/// Sampling options that the user gave; the rest comes from the model.
struct SamplingFlags {
  std::optional<std::int64_t> max_tokens, min_tokens, top_k;
  std::optional<float> temperature, top_p, min_p, typical_p;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;
  bool ignore_eos = false;

  SamplingParams apply_to(SamplingParams defaults) const;
};
/// add_engine_options, and those of sampling.
void add_request_options(CLI::App& command, EngineOptions& options, SamplingFlags& flags);

/// A folder or file as given, or the folder of a built-in model: beside the program
/// (../share/spate/models after installation) or in the source tree it was built in.
Result<std::string> resolve_model(const std::string& name);

/// resolve_model, then Engine::create.
Result<std::unique_ptr<Engine>> open_engine(EngineOptions options);

/// What takes how much memory: a heading and a line for each item.
std::string memory_plan(const ModelInfo& info);
/// The same to stderr, where a job is long enough for it to be of use.
void print_memory_plan(const Engine& engine);

/// "1,234 tokens, 56.7 tokens/s, first token after 0.123 s", to stderr.
void print_speed(const RequestResult& result);

}  // namespace spate::apps
