// spate score: log-probabilities, option scoring, perplexity.
#include <chrono>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/input.h"
#include "apps/options.h"
#include "apps/progress.h"
#include "bench/stopwatch.h"
#include "core/json.h"
#include "offline/json_fields.h"
#include "offline/score_job.h"
#include "offline/score_line.h"

namespace spate::apps {
namespace {

struct ScoreCommand {
  EngineOptions engine;
  std::string input;
  std::string output = "-";
  std::string text;
  std::int64_t top_logprobs = 0;
  WindowOptions window;
};

int score_text(const ScoreCommand& o, Engine& engine) {
  const Result<std::string> text = read_file(o.text);
  if (!text) return fail(text.error());
  const Result<Perplexity> p = score_document(engine, *text, o.window);
  if (!p) return fail(p.error());
  fmt::print("{}\n", dump_line({{"tokens", p->tokens},
                                {"negative_log_likelihood", p->negative_log_likelihood},
                                {"perplexity", p->value()}}));
  return kDone;
}

int score_lines(const ScoreCommand& o, Engine& engine) {
  Result<Input> input = Input::open(o.input, o.output);
  if (!input) return fail(input.error());
  // Scoring is quick and its output is in input order: an earlier output is replaced.
  Result<OutputFile> output = OutputFile::replace(o.output);
  if (!output) return fail(output.error());
  Progress bar;
  const auto begin = std::chrono::steady_clock::now();
  const Result<ScoreProgress> done =
      run_score(engine, input->stream(), *output, o.top_logprobs, [&](const ScoreProgress& p) {
        bar.show({}, fmt::format("{} lines, {} tokens", p.lines, p.tokens));
      });
  bar.finish();
  if (!done) return fail(done.error());
  const double seconds = bench::seconds_since(begin);
  fmt::print(stderr, "{} lines, {} failed, {} tokens in {}: {:.0f} tokens/s\n", done->lines,
             done->failed, done->tokens, human_duration(seconds),
             static_cast<double>(done->tokens) / seconds);
  return kDone;
}

int score(const ScoreCommand& o) {
  if (o.input.empty() == o.text.empty()) {
    fmt::print(stderr, "spate: score: give either -i INPUT or --text FILE\n");
    return kWrongUsage;
  }
  auto engine = open_engine(o.engine);
  if (!engine) return fail(engine.error());
  print_memory_plan(**engine);
  return o.text.empty() ? score_lines(o, **engine) : score_text(o, **engine);
}

}  // namespace

void add_score(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "score", "log-probabilities of given texts, option scoring, perplexity");
  auto o = std::make_shared<ScoreCommand>();
  command->add_option("-i,--input", o->input, "JSON lines; - is standard input");
  command->add_option("-o,--output", o->output, "JSON lines in input order; - is stdout");
  command->add_option("--text", o->text, "perplexity of this file as one document");
  command->add_option("--window", o->window.window, "tokens seen at once; 0: the context");
  command->add_option("--stride", o->window.stride, "tokens scored per window; 0: half a window");
  command->add_option("--top-logprobs", o->top_logprobs, "report so many alternatives a token")
      ->check(CLI::Range(0, 1000));
  add_engine_options(*command, o->engine);
  command->callback([o, &exit_code] { exit_code = score(*o); });
}

}  // namespace spate::apps
