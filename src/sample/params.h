// Checks SamplingParams and reads them from JSON: the fields of a request and a model's
// generation_config.json. Every error names the field, its value and the range.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "spate/result.h"
#include "spate/sampling.h"

namespace spate {

/// Below this temperature the most likely token is taken: there 1 / temperature is useless.
inline constexpr float kGreedyBelow = 1e-5F;

/// Whether every field is in its range and every token id in the vocabulary.
Result<void> validate(const SamplingParams& params, std::int64_t vocab_size);

struct ParsedSampling {
  SamplingParams params{};
  std::vector<std::string> unknown{};  // names of fields that are not about sampling
};

/// Reads the sampling fields of a request over `defaults`; null means absent. Types are checked
/// here, ranges by validate().
Result<ParsedSampling> sampling_from_json(const Json& fields, const SamplingParams& defaults);

/// `defaults` with what a model's generation_config.json recommends: what a request that says
/// nothing gets. Fields of no concern to sampling are skipped.
Result<SamplingParams> generation_defaults(const Json& generation_config,
                                           const SamplingParams& defaults);

}  // namespace spate
