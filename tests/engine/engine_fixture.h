// Whole engines in tests: opening a model of tests/models/data or the built-in one, and asking for
// the log-probabilities of every token at every position.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "spate/engine.h"

namespace spate::test {

inline std::string golden_folder(const std::string& name) { return "tests/models/data/" + name; }
inline std::string stories_folder() {
  return std::filesystem::absolute("models/stories-12m").string();
}

inline std::unique_ptr<Engine> open(EngineOptions options) {
  if (options.kv_memory == 0) options.kv_memory = std::int64_t{64} << 20;
  auto engine = Engine::create(options);
  if (!engine) {
    ADD_FAILURE() << engine.error().message;
    return nullptr;
  }
  return std::move(*engine);
}

/// A request for the distribution behind every token of `ids`. The last is only to be had by
/// sampling from it, for which the context needs room.
inline Request full_distribution(const std::vector<TokenId>& ids, std::int64_t vocab,
                                 bool with_last = true) {
  Request request{.prompt = ids};
  request.sampling = {.max_tokens = with_last ? 1 : 0,
                      .temperature = 0.0F,
                      .ignore_eos = true,
                      .logprobs = vocab,
                      .prompt_logprobs = vocab};
  return request;
}

/// rows[p][id]: log-probability of `id` after the first p + 1 tokens.
inline std::vector<std::vector<float>> rows_of(const RequestResult& result, std::int64_t vocab) {
  std::vector<std::vector<float>> rows;
  const auto add = [&](const TokenLogprobs& l) {
    auto& row = rows.emplace_back(static_cast<std::size_t>(vocab));
    for (const auto& t : l.top) row[static_cast<std::size_t>(t.id)] = t.logprob;
  };
  for (const auto& l : result.prompt_logprobs) {
    if (l) add(*l);
  }
  for (const auto& l : result.completions.front().logprobs) add(l);
  return rows;
}

inline std::vector<std::vector<float>> distributions(Engine& engine,
                                                     const std::vector<TokenId>& ids) {
  const std::int64_t vocab = engine.info().vocab_size;
  const bool room = static_cast<std::int64_t>(ids.size()) < engine.info().context_length;
  auto result = engine.complete(full_distribution(ids, vocab, room));
  if (!result) {
    ADD_FAILURE() << result.error().message;
    return {};
  }
  return rows_of(*result, vocab);
}

}  // namespace spate::test
