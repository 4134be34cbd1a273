// spate run: one completion, streamed to stdout.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "apps/commands.h"
#include "apps/interrupt.h"
#include "apps/options.h"
#include "apps/stream.h"

namespace spate::apps {
namespace {

struct RunOptions {
  EngineOptions engine;
  SamplingFlags sampling;
  std::optional<std::string> prompt;
  bool echo = true;
};

Result<std::string> prompt_of(const RunOptions& o) {
  if (o.prompt) return *o.prompt;
  if (isatty(STDIN_FILENO) == 1) {
    return Error{ErrorCode::kInvalidArgument,
                 "no prompt: give one as an argument or on standard input"};
  }
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

int run(const RunOptions& o) {
  const Result<std::string> prompt = prompt_of(o);
  if (!prompt) return fail(prompt.error());
  auto engine = open_engine(o.engine);
  if (!engine) return fail(engine.error());
  auto tokens = (*engine)->tokenize(*prompt);
  if (!tokens) return fail(tokens.error());
  if (o.echo) fmt::print("{}", *prompt);
  std::fflush(stdout);

  Interrupt interrupt;
  Request request{.prompt = std::move(*tokens),
                  .sampling = o.sampling.apply_to((*engine)->default_sampling())};
  const Result<RequestResult> result = stream_to_stdout(**engine, std::move(request), interrupt);
  fmt::print("\n");
  std::fflush(stdout);
  if (!result) return fail(result.error());
  if (result->completions.front().error) return fail(*result->completions.front().error);
  print_speed(*result);
  if (std::ferror(stdout) != 0) return fail({ErrorCode::kIo, "standard output: write failed"});
  return interrupt.seen() ? kFailed : kDone;
}

}  // namespace

void add_run(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand("run", "one completion, streamed");
  auto o = std::make_shared<RunOptions>();
  command->add_option("prompt", o->prompt, "text to continue; standard input when absent");
  command->add_flag("--echo,!--no-echo", o->echo, "print the prompt first (default)");
  add_request_options(*command, o->engine, o->sampling);
  command->callback([o, &exit_code] { exit_code = run(*o); });
}

}  // namespace spate::apps
