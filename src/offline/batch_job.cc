#include "offline/batch_job.h"

#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "offline/batch_line.h"
#include "offline/json_fields.h"
#include "offline/lanes.h"
#include "sample/rng.h"

namespace spate {
namespace {

/// One run of one job.
class Job {
 public:
  Job(Engine& engine, std::istream& input, OutputFile& output, const BatchOptions& options)
      : engine_(engine), input_(input), output_(output), options_(options) {}
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  /// Requests call back into the job: none may be in the engine when it is gone.
  ~Job() {
    for (const RequestId id : in_engine_) engine_.cancel(id);
    while (!in_engine_.empty()) engine_.step();
  }

  Result<void> read_earlier_run() {
    return output_.for_each_line(
        [&](std::string_view line) { ++finished_before_[dump_line(batch_line_id(line, -1))]; });
  }

  /// Reads and submits until the engine has enough or the input ends.
  void fill() {
    std::string text;
    while (!failure_ && !progress_.input_ended && queued() < options_.max_queued) {
      if (!std::getline(input_, text)) {
        progress_.input_ended = true;
        return;
      }
      if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
      const std::int64_t number = progress_.lines++;
      if (was_finished(text, number)) {
        ++progress_.skipped;
        continue;
      }
      submit(text, number);
    }
  }

  bool idle() const { return progress_.input_ended && in_engine_.empty(); }
  BatchProgress& progress() { return progress_; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  std::int64_t queued() const { return static_cast<std::int64_t>(in_engine_.size()); }

  bool was_finished(const std::string& text, std::int64_t number) {
    if (finished_before_.empty()) return false;
    const auto found = finished_before_.find(dump_line(batch_line_id(text, number)));
    if (found == finished_before_.end() || found->second == 0) return false;
    --found->second;
    return true;
  }

  void submit(const std::string& text, std::int64_t number) {
    const Lanes::Place place =
        lanes_.begin(options_.keep_order ? std::string() : dump_line(batch_line_id(text, number)));
    Result<BatchLine> parsed = parse_batch_line(engine_, text, number, options_.defaults);
    if (!parsed) return fail(place, text, number, parsed.error());
    auto line = std::make_shared<BatchLine>(std::move(*parsed));
    Request request = std::move(line->request);
    // Not the engine's own default, which counts requests: a resumed run sends fewer of them.
    std::optional<std::uint64_t>& seed = request.sampling.seed;
    if (!seed) seed = request_seed(options_.seed, static_cast<std::uint64_t>(number));
    request.on_done = [this, line, place, number](RequestResult result) {
      in_engine_.erase(std::exchange(result.id, number));  // ids stay unique across resumed runs
      finish(*line, place, result);
    };
    const Result<RequestId> id = engine_.submit(std::move(request));
    if (!id) return fail(place, text, number, id.error());
    in_engine_.insert(*id);
  }

  void finish(const BatchLine& line, const Lanes::Place& place, const RequestResult& result) {
    bool failed = false;
    for (const Completion& c : result.completions) {
      if (c.finish_reason == FinishReason::kCancelled) return;  // left for the next run
      failed = failed || c.error.has_value();
    }
    progress_.prompt_tokens += result.prompt_tokens;
    progress_.completion_tokens += result.completion_tokens;
    progress_.failed += static_cast<std::int64_t>(failed);
    write(place, batch_result_line(engine_, line, result));
  }

  void fail(const Lanes::Place& place, const std::string& text, std::int64_t number,
            const Error& error) {
    ++progress_.failed;
    write(place, batch_error_line(text, number, error));
  }

  void write(const Lanes::Place& place, std::string line) {
    lanes_.finish(place, std::move(line), [this](const std::string& next) {
      if (failure_) return;
      const Result<void> done = output_.append(next);
      if (!done) failure_ = done.error();
      ++progress_.finished;
    });
  }

  Engine& engine_;
  std::istream& input_;
  OutputFile& output_;
  const BatchOptions& options_;
  BatchProgress progress_{};
  std::unordered_map<std::string, std::int64_t> finished_before_;  // id -> lines
  /// One for all lines where their order is to be kept; else one for each id, so that counting the
  /// lines of an id in the output tells which of the input's are done.
  Lanes lanes_;
  std::unordered_set<RequestId> in_engine_;
  std::optional<Error> failure_;
};

}  // namespace

Result<BatchProgress> run_batch(Engine& engine, std::istream& input, OutputFile& output,
                                const BatchOptions& options, const BatchObserver& observer) {
  Job job(engine, input, output, options);
  const Result<void> earlier = job.read_earlier_run();
  if (!earlier) return earlier.error();
  while (!job.idle()) {
    job.fill();
    engine.step();
    if (job.failure()) return *job.failure();
    if (!observer(job.progress())) {
      job.progress().stopped = true;
      break;
    }
  }
  return job.progress();
}

}  // namespace spate
