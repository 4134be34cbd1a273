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

/// The same, all at once.
inline Rows rows_together(Engine& engine, const Prompts& prompts) {
  const std::int64_t vocab = engine.info().vocab_size;
  std::map<RequestId, Rows> by_id;
  for (const auto& prompt : prompts) {
    Request request = full_distribution(prompt, vocab);
    request.on_done = [&](const RequestResult& r) { by_id[r.id] = rows_of(r, vocab); };
    EXPECT_TRUE(engine.submit(std::move(request)));
  }
  engine.run_until_idle();
  Rows all;
  for (const auto& [id, rows] : by_id) all.insert(all.end(), rows.begin(), rows.end());
  return all;
}

}  // namespace spate::test
