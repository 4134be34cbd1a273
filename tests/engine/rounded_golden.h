// Logits that transformers computed in float32 with weights, rows or keys and values rounded as
// Spate rounds them (tools/model_rounding.py), and how far an engine's may be from them.
#pragma once

#include <string>

#include "tests/engine/golden.h"

namespace spate::test {

inline const std::vector<std::string> kRoundedGoldens = {
    "llama-gqa4-dim128", "mistral-window-dim256", "llama-gqa16-dim64"};

/// Of each, the long sequence.
inline Golden rounded_golden(const std::string& model) {
  std::vector<Golden> goldens = load_goldens(golden_folder(model));
  EXPECT_FALSE(goldens.back().rounded.empty());
  return std::move(goldens.back());
}

/// The engine has the same rounded numbers, so that only its arithmetic is between them: bf16, or
/// products of int8 rows, which are as exact where the largest of 32 values is two deviations. q4
/// and fp8 move the mean by more than a sixth of the tolerance, so a wrong scale shows.
inline void expect_the_same_numbers(Engine& engine, const Golden& g, const std::string& what) {
  expect_within(rounding_tolerance(g, engine.info(), kBf16HalfUnit),
                golden_rows(g, distributions(engine, g.ids)), g.rounded.at(what));
}

/// The engine rounds what it has just computed: an error of bf16 then moves some numbers to the
/// other neighbour, and the differences add up to most of what rounding itself does. In
/// transformers with bf16 throughout (noisier than Spate, whose residual stream is f32) they are
/// 0.72 to 0.94 of it, and the distance to the exact logits is 0.99 to 1.09 of it.
inline void expect_the_same_rounding(Engine& engine, const Golden& g, const std::string& what) {
  const LogProbs found = golden_rows(g, distributions(engine, g.ids));
  const double rounding = distance(g.rounded.at(what), g.logprobs).mean;

  EXPECT_LT(distance(found, g.rounded.at(what)).mean, rounding);
  EXPECT_GT(distance(found, g.logprobs).mean, 0.7 * rounding);
  EXPECT_LT(distance(found, g.logprobs).mean, 1.3 * rounding);
}

}  // namespace spate::test
