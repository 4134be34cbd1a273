// Time of one row. Sampling reads a row of f32 once or a few times from the second-level cache;
// the counter is bytes of logits per second, to be held against what `spate bench roofline` reads.
#include <cmath>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "sample/rng.h"
#include "sample/sampler.h"

namespace spate {
namespace {

// Normal logits. Deviation 2 is flat (top_p = 0.9 keeps thousands), 5 is like a trained model.
std::vector<float> row_of(std::int64_t n, double deviation) {
  std::vector<float> row(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const double u = 1.0 - uniform({1, 0}, at, RandomStream::kDraw);
    const double v = uniform({1, 1}, at, RandomStream::kDraw);
    row[i] = static_cast<float>(deviation * std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v));
  }
  return row;
}

// `state`: vocabulary, deviation of the logits.
void sample_row(benchmark::State& state, const SamplingParams& params) {
  const std::int64_t n = state.range(0);
  const std::vector<float> row = row_of(n, static_cast<double>(state.range(1)));
  const auto sampler = Sampler::make(params, n, {});
  TokenHistory history(sampler->tracks_tokens());
  for (TokenId id = 0; id < 1000; ++id) history.add_output(id * 7);
  SamplerScratch scratch;
  SampledToken token;
  std::uint32_t sequence = 0;
  for ([[maybe_unused]] auto step : state) {
    benchmark::DoNotOptimize(sampler->sample(row, history, {1, sequence++}, &scratch, &token));
  }
  state.SetBytesProcessed(state.iterations() * n * 4);
}

void sizes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t n : {32000, 151936}) {
    for (const std::int64_t deviation : {2, 5}) bench->Args({n, deviation});
  }
  bench->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(sample_row, greedy, {.temperature = 0})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, full, {})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, top_k_50, {.top_k = 50})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, top_k_5000, {.top_k = 5000})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, top_p, {.top_p = 0.9F})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, top_k_top_p, {.top_k = 50, .top_p = 0.9F})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, top_p_hot, {.temperature = 100.0F, .top_p = 0.9F})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, min_p, {.min_p = 0.05F})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, typical, {.typical_p = 0.9F})->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, greedy_penalties,
                  {.temperature = 0, .repetition_penalty = 1.1F, .frequency_penalty = 0.1F})
    ->Apply(sizes);
BENCHMARK_CAPTURE(sample_row, greedy_logprobs_5, {.temperature = 0, .logprobs = 5})->Apply(sizes);

}  // namespace
}  // namespace spate
