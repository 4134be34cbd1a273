// Samples on the GPU from logits that lie there. Owns, for each slot (a sequence that is running),
// its rules, its random key and the tokens it has seen, and for each row its result. The meaning of
// the rules is Sampler's (sample/sampler.h); with the same key both choose the same token, except
// where a mass comes within 2^-20 of a bound or of the random number.
// Thread rule: one thread. Everything is enqueued on the stream that is given.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "sample/rng.h"
#include "spate/result.h"
#include "spate/sampling.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace spate {

class DeviceSampler {
 public:
  struct Shape {
    std::int64_t vocab = 0;
    std::int64_t slots = 0;
    std::int64_t rows = 0;  // of a batch, at most
  };

  /// Whether these rules can be applied on the device: not typical_p, logit_bias, allowed_token_ids
  /// and alternatives' logprobs; before Hopper, none but taking the largest logit.
  bool supports(const SamplingParams& params) const;
  /// Whether a batch must be plain_greedy.
  bool is_greedy_only() const;

  /// Device memory that a sampler of this shape takes.
  static std::int64_t device_bytes(const Shape& shape);
  /// Page-locked memory of the host that it takes.
  static std::int64_t locked_bytes(const Shape& shape);

  static Result<std::unique_ptr<DeviceSampler>> make(const Shape& shape);
  ~DeviceSampler();
  DeviceSampler(const DeviceSampler&) = delete;
  DeviceSampler& operator=(const DeviceSampler&) = delete;

  struct Request {
    const SamplingParams* params = nullptr;  // valid for the vocabulary and supported
    RandomKey key{};
    std::span<const TokenId> eos_ids{};  // the model's
    std::span<const TokenId> prompt{};   // read for a repetition penalty only
    std::span<const TokenId> output{};   // tokens sampled before, as after a preemption
  };
  /// Gives a slot to a request. Before the slot's first sampling, after the last one of the request
  /// before it; not captured.
  Result<void> set_slot(std::int64_t slot, const Request& request, CUstream_st* stream);

  /// Whether the slot's rule is to take the largest logit, and nothing else is asked for.
  bool is_plain_greedy(std::int64_t slot) const;

  struct Batch {
    const float* logits = nullptr;  // [rows, vocab] f32, device, as the following
    std::int64_t stride = 0;        // elements
    std::int64_t rows = 0;
    const std::int32_t* slots = nullptr;  // [rows]; -1: padding
    std::int32_t* sampled = nullptr;      // [slots], for the next step's embed
    bool plain_greedy = false;            // all rows are: a faster kernel
    bool dependent_launch = false;
  };
  /// Chooses a token for each row and counts it as part of its slot's output. Can be captured.
  Result<void> sample(const Batch& batch, CUstream_st* stream);

  static constexpr int kCopies = 2;  // steps under way
  /// Copies the results of `rows` rows to the host; they can be read once the stream has come here.
  Result<void> copy_results(int copy, std::int64_t rows, CUstream_st* stream);

  enum class Outcome : std::uint8_t { kToken, kNotFinite, kNoTokenLeft };
  struct Row {
    TokenId id = 0;  // 0 unless there is a token
    Outcome outcome = Outcome::kToken;
    float logprob = 0;  // where params.logprobs is given
  };
  Row result(int copy, std::int64_t row) const;

 private:
  struct State;
  explicit DeviceSampler(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace spate
