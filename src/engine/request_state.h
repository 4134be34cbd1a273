// A request inside the engine: what was asked, its streams, what has come of them.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/stream.h"
#include "kv/span.h"
#include "sample/sampler.h"
#include "spate/request.h"

namespace spate {

using Clock = std::chrono::steady_clock;

/// Made by submit on any thread, then owned by the engine's thread.
struct RequestState {
  RequestState(RequestId number, Request asked, Sampler rules, std::uint64_t random_seed)
      : id(number), request(std::move(asked)), sampler(std::move(rules)), seed(random_seed) {}

  RequestId id;
  Request request;
  Sampler sampler;
  std::uint64_t seed;
  Clock::time_point submitted = Clock::now();
  std::optional<Clock::time_point> first_token{};

  struct Branch {
    SequenceId sequence{};
    std::unique_ptr<Stream> stream;
    bool done = false;
  };
  std::vector<Branch> branches{};  // one per completion
  std::vector<std::optional<TokenLogprobs>> prompt_logprobs{};

  std::int64_t n_open() const {
    std::int64_t n = 0;
    for (const Branch& b : branches) n += b.done ? 0 : 1;
    return n;
  }
  RequestResult take_result();
};

}  // namespace spate
