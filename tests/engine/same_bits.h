// What the tests of equal bits compare, on any device: the distributions of several prompts, each
// alone and all at once.
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

}  // namespace spate::test
