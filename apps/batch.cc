// spate batch: a file of requests, as fast as the machine goes.
#include <chrono>
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/input.h"
#include "apps/interrupt.h"
#include "apps/options.h"
#include "apps/progress.h"
#include "bench/stopwatch.h"
#include "offline/batch_job.h"

namespace spate::apps {
namespace {

struct BatchCommand {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string input;
  std::string output;
  bool keep_order = false;
};

void print_summary(const BatchProgress& p, double seconds) {
  fmt::print(stderr,
             "{} requests in {}: {} failed, {} finished earlier\n"
             "{} prompt tokens, {} completion tokens, {:.1f} completion tokens/s, {:.1f} "
             "requests/s\n",
             p.finished, human_duration(seconds), p.failed, p.skipped, p.prompt_tokens,
             p.completion_tokens, static_cast<double>(p.completion_tokens) / seconds,
             static_cast<double>(p.finished) / seconds);
}

/// Lines are counted; how many there are is guessed from how much of the file they were.
Progress::State state_of(const BatchProgress& p, double share_read) {
  if (p.lines == 0 || share_read <= 0) return {};
  const double total = static_cast<double>(p.lines) / share_read;
  return {.before = static_cast<double>(p.skipped) / total,
          .done = static_cast<double>(p.skipped + p.finished) / total};
}

int batch(const BatchCommand& o) {
  Result<Input> input = Input::open(o.input, o.output);
  if (!input) return fail(input.error());
  auto engine = open_engine(o.engine);
  if (!engine) return fail(engine.error());
  Result<OutputFile> output = OutputFile::open(o.output);
  if (!output) return fail(output.error());
  print_memory_plan(**engine);

  Interrupt interrupt;
  Progress bar;
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] { return bench::seconds_since(begin); };
  const BatchOptions options{.defaults = o.sampling.apply_to((*engine)->default_sampling()),
                             .keep_order = o.keep_order,
                             .max_queued = 4 * (*engine)->info().max_requests,
                             .seed = o.engine.seed};
  const auto observe = [&](const BatchProgress& p) {
    const auto generated = static_cast<double>((*engine)->stats().generated_tokens);
    bar.show(state_of(p, input->share()),
             fmt::format("{} done, {} failed, {:.0f} tokens/s", p.skipped + p.finished, p.failed,
                         generated / seconds()));
    return !interrupt.seen();
  };
  const Result<BatchProgress> done =
      run_batch(**engine, input->stream(), *output, options, observe);
  bar.finish();
  if (!done) return fail(done.error());
  print_summary(*done, seconds());
  if (!done->stopped) return kDone;
  fmt::print(stderr, "interrupted: start the same command again to go on\n");
  return kFailed;
}

}  // namespace

void add_batch(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("batch", "offline: a file of requests at full throughput");
  auto o = std::make_shared<BatchCommand>();
  command->add_option("-i,--input", o->input, "JSON lines; - is standard input")->required();
  command->add_option("-o,--output", o->output, "JSON lines, resumed if it exists; - is stdout")
      ->required();
  command->add_flag("--keep-order", o->keep_order, "output in input order, not as finished");
  add_request_options(*command, o->engine, o->sampling);
  command->callback([o, &exit_code] { exit_code = batch(*o); });
}

}  // namespace spate::apps
