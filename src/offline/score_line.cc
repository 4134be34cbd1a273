#include "offline/score_line.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "offline/json_fields.h"

namespace spate {
namespace {

Result<std::vector<TokenId>> tokens_of_line(const Engine& engine, const Json& json) {
  if (json.contains("token_ids")) {
    return token_ids_of(json.at("token_ids"), "token_ids", engine.info().vocab_size);
  }
  if (!json.at("text").is_string()) return wrong_type("text", json.at("text"), "a string");
  return engine.tokenize(json.at("text").get_ref<const std::string&>());
}

/// The tokens of prompt and continuation together; what the prompt alone becomes is the context,
/// less what the continuation changed (Gao et al., lm-evaluation-harness).
ScoreLine::Sequence joined(const std::vector<TokenId>& context, std::vector<TokenId> whole) {
  const auto shared = std::mismatch(context.begin(), context.end(), whole.begin(), whole.end());
  const auto n = static_cast<std::int64_t>(shared.first - context.begin());
  return {.tokens = std::move(whole), .first_scored = std::max<std::int64_t>(1, n)};
}

Result<void> add_continuations(const Engine& engine, const Json& json, ScoreLine& line) {
  const Json& prompt = json.at("prompt");
  const Json& continuations = json.at("continuations");
  if (!prompt.is_string()) return wrong_type("prompt", prompt, "a string");
  if (!continuations.is_array() || continuations.empty()) {
    return wrong_type("continuations", continuations, "an array of one or more strings");
  }
  const auto& context_text = prompt.get_ref<const std::string&>();
  const Result<std::vector<TokenId>> context = engine.tokenize(context_text);
  if (!context) return context.error();
  if (context->empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"prompt\" has no tokens: the first token of a continuation needs one before it"};
  }
  for (const Json& c : continuations) {
    if (!c.is_string()) return wrong_type("continuations", c, "an array of strings");
    Result<std::vector<TokenId>> whole =
        engine.tokenize(context_text + c.get_ref<const std::string&>());
    if (!whole) return whole.error();
    line.sequences.push_back(joined(*context, std::move(*whole)));
    const ScoreLine::Sequence& s = line.sequences.back();
    if (static_cast<std::int64_t>(s.tokens.size()) <= s.first_scored) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("\"continuations\": {} adds no token to the prompt", dump_line(c))};
    }
  }
  line.has_continuations = true;
  return {};
}

double sum_of(const RequestResult& result, std::int64_t first) {
  double sum = 0.0;
  for (std::size_t i = static_cast<std::size_t>(first); i < result.prompt_logprobs.size(); ++i) {
    if (result.prompt_logprobs[i]) sum += static_cast<double>(result.prompt_logprobs[i]->chosen);
  }
  return sum;
}

bool is_greedy(const ScoreLine::Sequence& s, const RequestResult& result) {
  for (std::size_t i = static_cast<std::size_t>(s.first_scored); i < s.tokens.size(); ++i) {
    const auto& l = result.prompt_logprobs[i];
    if (!l || l->top.empty() || l->top.front().id != s.tokens[i]) return false;
  }
  return true;
}

Json continuations_json(const ScoreLine& line, const std::vector<RequestResult>& results) {
  Json out = {{"continuations", Json::array()}};
  std::size_t best = 0;
  std::vector<double> sums;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const ScoreLine::Sequence& s = line.sequences[i];
    sums.push_back(sum_of(results[i], s.first_scored));
    if (sums[i] > sums[best]) best = i;
    out["continuations"].push_back(
        {{"logprob", sums[i]},
         {"tokens", static_cast<std::int64_t>(s.tokens.size()) - s.first_scored},
         {"is_greedy", is_greedy(s, results[i])}});
  }
  out["best"] = best;
  return out;
}

Json tokens_json(const ScoreLine& line, const RequestResult& result) {
  const auto scored = static_cast<double>(line.sequences.front().tokens.size()) - 1.0;
  Json out = {{"token_ids", line.sequences.front().tokens}, {"logprobs", Json::array()}};
  if (line.top_logprobs > 0) out["top_logprobs"] = Json::array();
  for (const std::optional<TokenLogprobs>& l : result.prompt_logprobs) {
    out["logprobs"].push_back(l ? Json(l->chosen) : Json());
    if (line.top_logprobs > 0) {
      out["top_logprobs"].push_back(l ? alternatives_json(*l) : Json());
    }
  }
  out["perplexity"] = scored > 0 ? Json(std::exp(-sum_of(result, 1) / scored)) : Json();
  return out;
}

/// The windows of a document on their way through the engine, a bounded number at a time.
class Windows {
 public:
  explicit Windows(Engine& engine) : engine_(engine) {}

  /// Scores tokens[first..]; waits while too many windows are in the engine.
  Result<void> add(std::vector<TokenId> tokens, std::int64_t first) {
    constexpr std::int64_t kAtOnce = 64;
    while (state_->n_open >= kAtOnce) engine_.step();
    Request request{.prompt = std::move(tokens)};
    request.sampling.max_tokens = 0;
    request.sampling.prompt_logprobs = 0;
    request.on_done = [state = state_, slot = state_->sums.size(), first](RequestResult result) {
      --state->n_open;
      state->sums[slot] = sum_of(result, first);
      std::optional<Error>& error = result.completions.front().error;
      if (error) state->error = std::move(error);
    };
    const Result<RequestId> id = engine_.submit(std::move(request));
    if (!id) return id.error();
    state_->sums.push_back(0.0);
    ++state_->n_open;
    return {};
  }

  /// The sum over all windows, added in their order.
  Result<double> finish() {
    while (state_->n_open > 0) engine_.step();
    if (state_->error) return *state_->error;
    return std::accumulate(state_->sums.begin(), state_->sums.end(), 0.0);
  }

 private:
  // Shared with the callbacks, which outlive an early return.
  struct State {
    std::vector<double> sums{};
    std::int64_t n_open = 0;
    std::optional<Error> error{};
  };
  Engine& engine_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

Result<ScoreLine> parse_score_line(const Engine& engine, std::string_view text, std::int64_t number,
                                   std::int64_t top_logprobs) {
  const Result<Json> json = parse_json(text, fmt::format("line {}", number + 1));
  if (!json) return json.error();
  if (!json->is_object()) return wrong_type("the line", *json, "a JSON object");
  ScoreLine line{.id = json->value("id", Json(number)),
                 .has_id = json->contains("id"),
                 .top_logprobs = top_logprobs};
  const int given = static_cast<int>(json->contains("text")) +
                    static_cast<int>(json->contains("token_ids")) +
                    static_cast<int>(json->contains("continuations"));
  if (given != 1 || json->contains("continuations") != json->contains("prompt")) {
    return Error{ErrorCode::kInvalidArgument,
                 "give exactly one of \"text\", \"token_ids\", or \"prompt\" with "
                 "\"continuations\""};
  }
  if (json->contains("continuations")) {
    const Result<void> added = add_continuations(engine, *json, line);
    if (!added) return added.error();
    return line;
  }
  Result<std::vector<TokenId>> tokens = tokens_of_line(engine, *json);
  if (!tokens) return tokens.error();
  if (tokens->empty()) {
    return Error{ErrorCode::kInvalidArgument, "nothing to score: the text has no tokens"};
  }
  line.sequences.push_back({.tokens = std::move(*tokens)});
  return line;
}

Request score_request(const ScoreLine& line, const ScoreLine::Sequence& sequence) {
  Request request{.prompt = sequence.tokens};
  request.sampling.max_tokens = 0;
  request.sampling.prompt_logprobs = line.has_continuations ? 1 : line.top_logprobs;
  return request;
}

std::string score_result_line(const ScoreLine& line, const std::vector<RequestResult>& results) {
  Json out = line.has_continuations ? continuations_json(line, results)
                                    : tokens_json(line, results.front());
  out["id"] = line.id;
  return dump_line(out);
}

double Perplexity::value() const {
  return std::exp(negative_log_likelihood / static_cast<double>(tokens));
}

Result<Perplexity> score_document(Engine& engine, std::string_view text,
                                  const WindowOptions& options) {
  const std::int64_t context = engine.info().context_length;
  const std::int64_t window = options.window == 0 ? context : options.window;
  const std::int64_t stride =
      options.stride == 0 ? std::max<std::int64_t>(1, window / 2) : options.stride;
  if (window < 2 || window > context || stride < 1 || stride >= window) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("window {} and stride {}: need 2 <= window <= {} (the context) and "
                             "1 <= stride < window",
                             window, stride, context)};
  }
  const Result<std::vector<TokenId>> tokens = engine.tokenize(text);
  if (!tokens) return tokens.error();
  const auto n = static_cast<std::int64_t>(tokens->size());
  if (n < 2) return Error{ErrorCode::kInvalidArgument, "the text has fewer than two tokens"};

  Windows windows(engine);
  std::int64_t scored_to = 1;
  for (std::int64_t begin = 0; scored_to < n; begin += stride) {
    const std::int64_t end = std::min(n, begin + window);
    const Result<void> added =
        windows.add({tokens->begin() + begin, tokens->begin() + end}, scored_to - begin);
    if (!added) return added.error();
    scored_to = end;
  }
  Result<double> sum = windows.finish();
  if (!sum) return sum.error();
  return Perplexity{.tokens = n - 1, .negative_log_likelihood = -*sum};
}

}  // namespace spate
