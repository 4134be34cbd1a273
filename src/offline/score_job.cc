#include "offline/score_job.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "offline/json_fields.h"
#include "offline/score_line.h"

namespace spate {
namespace {

/// A line on its way: its results arrive in any order, it leaves in its turn.
struct Pending {
  ScoreLine line{};
  std::vector<RequestResult> results{};
  std::size_t n_open = 0;
  std::optional<Error> error{};

  bool done() const { return error.has_value() || n_open == 0; }
  std::string output(std::int64_t& failed) const {
    for (const RequestResult& r : results) {
      if (!error && r.completions.front().error) {
        ++failed;
        return dump_line({{"id", line.id}, {"error", r.completions.front().error->message}});
      }
    }
    if (!error) return score_result_line(line, results);
    ++failed;
    return dump_line({{"id", line.id}, {"error", error->message}});
  }
};

/// Callbacks hold a share of `pending`, which may leave the queue before they are gone.
void submit(Engine& engine, const std::shared_ptr<Pending>& pending) {
  pending->results.resize(pending->line.sequences.size());
  pending->n_open = pending->results.size();
  for (std::size_t i = 0; i < pending->results.size() && !pending->error; ++i) {
    Request request = score_request(pending->line, pending->line.sequences[i]);
    request.on_done = [pending, i](RequestResult result) {
      pending->results[i] = std::move(result);
      --pending->n_open;
    };
    const Result<RequestId> id = engine.submit(std::move(request));
    if (!id) pending->error = id.error();
  }
}

std::shared_ptr<Pending> start(Engine& engine, std::string_view text, std::int64_t number,
                               std::int64_t top_logprobs) {
  auto pending = std::make_shared<Pending>();
  Result<ScoreLine> line = parse_score_line(engine, text, number, top_logprobs);
  if (line) {
    pending->line = std::move(*line);
    submit(engine, pending);
    return pending;
  }
  const Json json = Json::parse(text, nullptr, false);
  pending->line.id = json.is_object() ? json.value("id", Json(number)) : Json(number);
  pending->error = line.error();
  return pending;
}

}  // namespace

Result<ScoreProgress> run_score(Engine& engine, std::istream& input, OutputFile& output,
                                std::int64_t top_logprobs,
                                const std::function<void(const ScoreProgress&)>& observer) {
  constexpr std::size_t kQueued = 256;  // lines in the engine at once
  ScoreProgress progress;
  std::deque<std::shared_ptr<Pending>> queue;
  std::string text;
  bool input_ended = false;
  while (!input_ended || !queue.empty()) {
    while (!input_ended && queue.size() < kQueued) {
      input_ended = !std::getline(input, text);
      if (input_ended || text.find_first_not_of(" \t\r") == std::string::npos) continue;
      queue.push_back(start(engine, text, progress.lines++, top_logprobs));
    }
    engine.step();
    while (!queue.empty() && queue.front()->done()) {
      for (const auto& s : queue.front()->line.sequences) {
        progress.tokens += static_cast<std::int64_t>(s.tokens.size());
      }
      const Result<void> written = output.append(queue.front()->output(progress.failed));
      if (!written) return written.error();
      queue.pop_front();
    }
    observer(progress);
  }
  return progress;
}

}  // namespace spate
