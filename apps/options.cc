#include "apps/options.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "engine/memory_plan.h"
#include "engine/options.h"
#include "sample/params.h"
#include "tokenizer/utf8.h"

namespace spate::apps {
namespace fs = std::filesystem;
namespace {

/// Messages quote files, which may hold anything: bytes that are no text, orders to the terminal, a
/// megabyte of one word.
std::string printable(std::string_view message) {
  constexpr std::size_t kLongest = 3000;
  std::string out;
  for (const char c : repair_utf8(message.substr(0, kLongest))) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out.push_back(c);
    }
  }
  if (message.size() > kLongest) out += "...";
  return out;
}

/// Values that are wrong whatever the model and the machine end the program as wrong usage.
void check_when_parsed(CLI::App& command, std::function<Result<void>()> check) {
  command.parse_complete_callback([check = std::move(check)] {
    const Result<void> checked = check();
    if (!checked)
      throw CLI::ValidationError(checked.error().message, CLI::ExitCodes::ValidationError);
  });
}

Result<void> check_options(const EngineOptions& o) {
  const Result<EngineChoices> choices = parse_options(o);
  const bool wrong = !choices && choices.error().code == ErrorCode::kInvalidArgument;
  return wrong ? Result<void>(choices.error()) : Result<void>();
}

/// The model's own defaults are not known yet; they are checked with the model.
Result<void> check_flags(const SamplingFlags& flags) {
  SamplingParams params = flags.apply_to(SamplingParams{});
  if (!flags.max_tokens) params.max_tokens = std::max(params.max_tokens, params.min_tokens);
  return validate(params, std::numeric_limits<TokenId>::max());
}

}  // namespace

int fail(const Error& error) {
  fmt::print(stderr, "spate: {}\n", printable(error.message));
  return kFailed;
}

void add_engine_options(CLI::App& command, EngineOptions& o) {
  check_when_parsed(command, [&o] { return check_options(o); });
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->group("Engine")->capture_default_str();
  };
  add("-m,--model", o.model, "folder, file, or a built-in model's name (default: stories-12m)");
  add("--device", o.device, "cpu, cuda, cuda:1");
  add("--dtype", o.dtype, "arithmetic: auto (the weights' own), f32, bf16, f16");
  add("--weights", o.weights, "auto (as stored), q8, q4, on a GPU fp8: quantize while loading");
  add("--kv-dtype", o.kv_dtype, "auto (the arithmetic's), f32, f16, bf16, int8; on a GPU fp8 too");
  add("--kv-cache", o.kv_cache, "segment, paged");
  add("--kv-memory", o.kv_memory, "size of the cache, e.g. 2GiB; 0: chosen")
      ->transform(CLI::AsSizeValue(false));
  add("--context-length", o.context_length, "longest sequence in tokens; 0: the model's");
  add("--threads", o.threads, "0: one per usable core");
  add("--isa", o.isa, "auto, amx, avx512 (without AMX), avx2, generic");
  add("--max-batch-tokens", o.max_batch_tokens,
      "tokens computed in one step, at most; 0: 512, on a GPU 8192");
  add("--max-requests", o.max_requests,
      "sequences running at once, at most; 0: 256, on a GPU 1024");
  add("--admission", o.admission,
      "when a request joins: lookahead (its expected length fits), exact (its longest does)");
  add("--policy", o.policy, "who is first: fifo, prefill-first, shortest-first, priority");
  add("--seed", o.seed, "of requests that bring none");
  const auto say_deterministic = [&](const char* name, bool on, const char* help) {
    command
        .add_flag_callback(
            name, [&o, on] { o.deterministic = on; }, help)
        ->group("Engine");
  };
  say_deterministic("--deterministic", true,
                    "on a GPU: the same bits whatever runs beside a request; without a word: where "
                    "that costs next to nothing (a CPU always gives them)");
  say_deterministic("--no-deterministic", false, "on a GPU: other bits, where that is faster");
  add("--load-format", o.load_format, "auto, dummy (random weights of the config's shape)");
}

void add_request_options(CLI::App& command, EngineOptions& o, SamplingFlags& f) {
  add_engine_options(command, o);
  check_when_parsed(command, [&o, &f] {
    const Result<void> engine = check_options(o);
    return engine ? check_flags(f) : engine;
  });
  const auto add = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->group("Sampling");
  };
  add("-n,--max-tokens", f.max_tokens, "tokens to generate, at most");
  add("--min-tokens", f.min_tokens, "no end of text before so many");
  add("--temperature", f.temperature, "0: always the most likely token");
  add("--top-k", f.top_k, "only the k most likely tokens; 0: all");
  add("--top-p", f.top_p, "only the most likely tokens that together have probability p");
  add("--min-p", f.min_p, "only tokens at least this likely, relative to the first");
  add("--typical-p", f.typical_p, "locally typical sampling");
  add("--repetition-penalty", f.repetition_penalty, "divides the logits of tokens seen");
  add("--presence-penalty", f.presence_penalty, "subtracted once from tokens generated");
  add("--frequency-penalty", f.frequency_penalty, "subtracted for each time generated");
  add("--sampling-seed", f.seed, "the request's own seed");
  add("--stop", f.stop, "end before this text; may be repeated");
  command.add_flag("--ignore-eos", f.ignore_eos, "go on after an end of text")->group("Sampling");
}

SamplingParams SamplingFlags::apply_to(SamplingParams p) const {
  const auto set = [](const auto& from, auto& to) {
    if (from) to = *from;
  };
  set(max_tokens, p.max_tokens);
  set(min_tokens, p.min_tokens);
  set(top_k, p.top_k);
  set(temperature, p.temperature);
  set(top_p, p.top_p);
  set(min_p, p.min_p);
  set(typical_p, p.typical_p);
  set(repetition_penalty, p.repetition_penalty);
  set(presence_penalty, p.presence_penalty);
  set(frequency_penalty, p.frequency_penalty);
  if (seed) p.seed = seed;
  if (!stop.empty()) p.stop = stop;
  p.ignore_eos = ignore_eos;
  return p;
}

Result<std::string> resolve_model(const std::string& given) {
  const std::string name = given.empty() ? "stories-12m" : given;
  std::error_code code;
  if (!given.empty() && fs::exists(name, code)) return name;
  const fs::path program = fs::read_symlink("/proc/self/exe", code).parent_path();
  for (const char* models : {"../share/spate/models", "../../../models"}) {
    const fs::path folder = program / models / name;
    if (name.find('/') == std::string::npos && fs::exists(folder / "config.json", code)) {
      return fs::weakly_canonical(folder, code).string();
    }
  }
  return Error{ErrorCode::kNotFound,
               fmt::format("model \"{}\": no such folder or file, and no built-in model of that "
                           "name (there is stories-12m)",
                           name)};
}

Result<std::unique_ptr<Engine>> open_engine(EngineOptions options) {
  Result<std::string> path = resolve_model(options.model);
  if (!path) return path.error();
  options.model = *path;
  return Engine::create(options);
}

std::string memory_plan(const ModelInfo& i) {
  return fmt::format("memory plan ({} weights, {} cache of {} tokens)\n{}",
                     i.weights == "auto" ? "stored" : i.weights, i.kv_dtype, i.kv_tokens,
                     memory_table(i.memory));
}

void print_memory_plan(const Engine& engine) {
  fmt::print(stderr, "{}", memory_plan(engine.info()));
}

void print_speed(const RequestResult& r) {
  const double decoding = r.seconds - r.seconds_to_first_token;
  const double rate = decoding > 0 ? static_cast<double>(r.completion_tokens - 1) / decoding : 0.0;
  fmt::print(stderr, "[{} prompt tokens, first token after {:.3f} s; {} tokens, {:.1f} tokens/s]\n",
             r.prompt_tokens, r.seconds_to_first_token, r.completion_tokens, rate);
}

}  // namespace spate::apps
