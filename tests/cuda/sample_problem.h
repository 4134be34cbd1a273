// Requests sampled on the GPU and, with the same logits and keys, by the CPU's sampler.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "sample/cuda/device_sampler.h"
#include "sample/sampler.h"
#include "tests/cuda/device_array.h"

namespace spate::cuda_test {

inline constexpr float kInf = std::numeric_limits<float>::infinity();

inline std::vector<float> noise(std::int64_t n, std::uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> v(static_cast<std::size_t>(n));
  for (float& x : v) x = normal(random);
  return v;
}

struct Requests {
  std::vector<SamplingParams> params{};         // of each row; row r has slot slots[r]
  std::vector<std::vector<TokenId>> prompts{};  // or none
  std::vector<TokenId> eos_ids{};
};

/// Row r is slot n_rows - 1 - r.
class SampleProblem {
 public:
  SampleProblem(std::int64_t vocab, Requests requests)
      : vocab_(vocab),
        requests_(std::move(requests)),
        rows_(static_cast<std::int64_t>(requests_.params.size())),
        sampler_(make(vocab, rows_)),
        slots_(slot_list(rows_)),
        sampled_(static_cast<std::size_t>(rows_)) {
    requests_.prompts.resize(requests_.params.size());
    for (std::int64_t r = 0; r < rows_; ++r) {
      set(r, requests_.params[static_cast<std::size_t>(r)], {});
    }
  }
  /// Gives the row's slot to a request that has this output.
  void set(std::int64_t row, const SamplingParams& params, std::span<const TokenId> output) {
    DeviceSampler::Request request;
    request.params = &params;
    request.key = key(row);
    request.eos_ids = requests_.eos_ids;
    request.prompt = requests_.prompts[static_cast<std::size_t>(row)];
    request.output = output;
    expect_ok(sampler_->set_slot(rows_ - 1 - row, request, nullptr));
  }

  static RandomKey key(std::int64_t row) {
    return {0x123456789abcdefULL + static_cast<std::uint64_t>(row),
            static_cast<std::uint32_t>(row)};
  }
  std::int64_t rows() const { return rows_; }

  /// One step of all rows. stride 0: the same logits for all.
  std::vector<DeviceSampler::Row> step(const std::vector<float>& logits, std::int64_t stride,
                                       bool plain_greedy = false) {
    const DeviceArray<float> device(logits);
    expect_ok(sampler_->sample({.logits = device.data(),
                                .stride = stride,
                                .rows = rows_,
                                .slots = slots_.data(),
                                .sampled = sampled_.data(),
                                .plain_greedy = plain_greedy,
                                .dependent_launch = true},
                               nullptr));
    expect_ok(sampler_->copy_results(1, rows_, nullptr));
    require(cudaDeviceSynchronize());
    std::vector<DeviceSampler::Row> results;
    for (std::int64_t r = 0; r < rows_; ++r) results.push_back(sampler_->result(1, r));
    const std::vector<std::int32_t> sampled = sampled_.get();
    for (std::int64_t r = 0; r < rows_; ++r) {
      EXPECT_EQ(sampled[static_cast<std::size_t>(rows_ - 1 - r)],
                results[static_cast<std::size_t>(r)].id);
    }
    return results;
  }
  const DeviceSampler& sampler() const { return *sampler_; }
  const Requests& requests() const { return requests_; }
  std::int64_t vocab() const { return vocab_; }

 private:
  template <class R>
  static void expect_ok(const R& result) {
    EXPECT_TRUE(result) << result.error().message;
  }
  static std::unique_ptr<DeviceSampler> make(std::int64_t vocab, std::int64_t rows) {
    auto made = DeviceSampler::make({.vocab = vocab, .slots = rows, .rows = rows});
    expect_ok(made);
    return std::move(*made);
  }
  static std::vector<std::int32_t> slot_list(std::int64_t rows) {
    std::vector<std::int32_t> slots;
    for (std::int64_t r = 0; r < rows; ++r)
      slots.push_back(static_cast<std::int32_t>(rows - 1 - r));
    return slots;
  }

  std::int64_t vocab_;
  Requests requests_;
  std::int64_t rows_;
  std::unique_ptr<DeviceSampler> sampler_;
  DeviceArray<std::int32_t> slots_, sampled_;
};

/// The CPU's sampler on the same requests.
class HostSamplers {
 public:
  explicit HostSamplers(const SampleProblem& problem) {
    const Requests& requests = problem.requests();
    for (std::int64_t r = 0; r < problem.rows(); ++r) {
      const auto i = static_cast<std::size_t>(r);
      auto made = Sampler::make(requests.params[i], problem.vocab(), requests.eos_ids);
      EXPECT_TRUE(made) << made.error().message;
      samplers_.push_back(*made);
      histories_.emplace_back(made->tracks_tokens());
      histories_.back().add_prompt(requests.prompts[i]);
    }
  }
  /// -1 for an error.
  SampledToken sample(std::int64_t row, std::span<const float> logits) {
    const auto i = static_cast<std::size_t>(row);
    SampledToken token;
    if (!samplers_[i].sample(logits, histories_[i], SampleProblem::key(row), &scratch_, &token)) {
      token.id = -1;
    }
    return token;
  }
  void add_output(std::int64_t row, TokenId id) {
    histories_[static_cast<std::size_t>(row)].add_output(id);
  }

 private:
  std::vector<Sampler> samplers_{};
  std::vector<TokenHistory> histories_{};
  SamplerScratch scratch_{};
};

}  // namespace spate::cuda_test
