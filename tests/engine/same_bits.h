// What the tests of equal bits compare, on any device: the distributions of several prompts, each
// alone and all at once; the completions of a request, by themselves and beside each other.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "tests/engine/engine_fixture.h"

namespace spate::test {

using Rows = std::vector<std::vector<float>>;
using Prompts = std::vector<std::vector<TokenId>>;

inline std::vector<TokenId> some_tokens(std::int64_t n, std::int64_t vocab, std::uint32_t seed) {
  std::vector<TokenId> ids;
  for (std::int64_t i = 0; i < n; ++i) {
    seed = seed * 1664525U + 1013904223U;
    ids.push_back(static_cast<TokenId>((seed >> 8) % static_cast<std::uint32_t>(vocab)));
  }
  return ids;
}

inline Rows rows_alone(Engine& engine, const Prompts& prompts) {
  Rows all;
  for (const auto& prompt : prompts) {
    const Rows rows = distributions(engine, prompt);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

/// The rows that requests made of the prompts ask for, all at once.
template <class MakeRequest>
Rows rows_of_all(Engine& engine, const Prompts& prompts, MakeRequest make_request) {
  const std::int64_t vocab = engine.info().vocab_size;
  std::map<RequestId, Rows> by_id;
  for (const auto& prompt : prompts) {
    Request request = make_request(prompt);
    request.on_done = [&](const RequestResult& r) { by_id[r.id] = rows_of(r, vocab); };
    EXPECT_TRUE(engine.submit(std::move(request)));
  }
  engine.run_until_idle();
  Rows all;
  for (const auto& [id, rows] : by_id) all.insert(all.end(), rows.begin(), rows.end());
  return all;
}

/// The same as rows_alone, all at once.
inline Rows rows_together(Engine& engine, const Prompts& prompts) {
  return rows_of_all(engine, prompts, [&](const std::vector<TokenId>& prompt) {
    return full_distribution(prompt, engine.info().vocab_size);
  });
}

/// Behind each prompt's last token alone, all at once: the last layer keeps only those rows.
inline Rows last_rows_together(Engine& engine, const Prompts& prompts) {
  return rows_of_all(engine, prompts, [&](const std::vector<TokenId>& prompt) {
    Request request = full_distribution(prompt, engine.info().vocab_size);
    request.sampling.prompt_logprobs = std::nullopt;
    return request;
  });
}

inline Rows last_rows_alone(Engine& engine, const Prompts& prompts) {
  Rows all;
  for (const auto& prompt : prompts) all.push_back(distributions(engine, prompt).back());
  return all;
}

/// Tokens and what they were thought to be worth.
struct Answer {
  std::vector<TokenId> tokens{};
  std::vector<float> logprobs{};
  friend bool operator==(const Answer&, const Answer&) = default;
};

/// Of a completion whose request asked for log-probabilities.
inline Answer answer_of(const Completion& c) {
  EXPECT_FALSE(c.error) << c.error->message;
  Answer answer{.tokens = c.token_ids};
  for (const TokenLogprobs& l : c.logprobs) answer.logprobs.push_back(l.chosen);
  return answer;
}

/// A request's answers when it wants n of them.
inline std::vector<Answer> completions(Engine& engine, Request request, std::int64_t n) {
  request.sampling.n = n;
  request.sampling.logprobs = 0;
  const auto result = engine.complete(std::move(request));
  EXPECT_TRUE(result);
  std::vector<Answer> answers;
  for (const Completion& c : result->completions) answers.push_back(answer_of(c));
  return answers;
}

/// Each completion of a request is what it is whatever their number, and greedy ones are all the
/// same. Prompts end inside a block, at its end, and behind its first token.
inline void expect_independent_completions(Engine& engine) {
  constexpr std::int64_t kNewTokens = 12;
  for (const std::int64_t length : {100, 128, 129}) {
    if (length + kNewTokens > engine.info().context_length) continue;
    SCOPED_TRACE("prompt of " + std::to_string(length));
    Request request{.prompt = some_tokens(length, engine.info().vocab_size, 5)};
    request.sampling = {
        .max_tokens = kNewTokens, .temperature = 0.9F, .ignore_eos = true, .seed = 7};
    const std::vector<Answer> sampled = completions(engine, request, 3);
    ASSERT_EQ(sampled.size(), 3U);
    EXPECT_NE(sampled[0].tokens, sampled[1].tokens);
    for (const std::int64_t n : {1, 2}) {
      EXPECT_EQ(completions(engine, request, n), std::vector(sampled.begin(), sampled.begin() + n));
    }

    request.sampling.temperature = 0.0F;
    const Answer alone = completions(engine, request, 1).front();
    EXPECT_EQ(completions(engine, request, 3), std::vector(3, alone));
  }
}

}  // namespace spate::test
