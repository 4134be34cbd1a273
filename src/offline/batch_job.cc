#include "offline/batch_job.h"

#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "offline/batch_line.h"
#include "offline/json_fields.h"

namespace spate {
namespace {

/// One run of one job.
class Job {
 public:
  Job(Engine& engine, std::istream& input, OutputFile& output, const BatchOptions& options)
      : engine_(engine), input_(input), output_(output), options_(options) {}

  Result<void> read_earlier_run() {
    return output_.for_each_line(
        [&](std::string_view line) { ++finished_before_[dump_line(batch_line_id(line, -1))]; });
  }

  /// Reads and submits until the engine has enough or the input ends.
  void fill() {
    std::string text;
    while (!progress_.input_ended && in_engine_ < options_.max_queued) {
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

  bool idle() const { return progress_.input_ended && in_engine_ == 0; }
  BatchProgress& progress() { return progress_; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  bool was_finished(const std::string& text, std::int64_t number) {
    if (finished_before_.empty()) return false;
    const auto found = finished_before_.find(dump_line(batch_line_id(text, number)));
    if (found == finished_before_.end() || found->second == 0) return false;
    --found->second;
    return true;
  }

  void submit(const std::string& text, std::int64_t number) {
    const std::int64_t order = next_order_++;
    Result<BatchLine> parsed = parse_batch_line(engine_, text, number, options_.defaults);
    if (!parsed) return fail(order, text, number, parsed.error());
    auto line = std::make_shared<BatchLine>(std::move(*parsed));
    Request request = std::move(line->request);
    request.on_done = [this, line, order](RequestResult result) {
      --in_engine_;
      progress_.prompt_tokens += result.prompt_tokens;
      progress_.completion_tokens += result.completion_tokens;
      for (const Completion& c : result.completions) {
        if (c.finish_reason == FinishReason::kCancelled) return;  // left for the next run
        if (c.error) ++progress_.failed;
      }
      write(order, batch_result_line(engine_, *line, result));
    };
    ++in_engine_;
    const Result<RequestId> id = engine_.submit(std::move(request));
    if (!id) {
      --in_engine_;
      fail(order, text, number, id.error());
    }
  }

  void fail(std::int64_t order, const std::string& text, std::int64_t number, const Error& error) {
    ++progress_.failed;
    write(order, batch_error_line(text, number, error));
  }

  void write(std::int64_t order, std::string line) {
    ++progress_.finished;
    if (!options_.keep_order) return append(line);
    held_back_.emplace(order, std::move(line));
    for (auto next = held_back_.find(written_); next != held_back_.end();
         next = held_back_.find(written_)) {
      append(next->second);
      held_back_.erase(next);
      ++written_;
    }
  }

  void append(const std::string& line) {
    if (failure_) return;
    const Result<void> done = output_.append(line);
    if (!done) failure_ = done.error();
  }

  Engine& engine_;
  std::istream& input_;
  OutputFile& output_;
  const BatchOptions& options_;
  BatchProgress progress_{};
  std::unordered_map<std::string, std::int64_t> finished_before_;  // id -> lines
  std::map<std::int64_t, std::string> held_back_;
  std::int64_t next_order_ = 0;
  std::int64_t written_ = 0;
  std::int64_t in_engine_ = 0;
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
