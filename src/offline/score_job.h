// A score job: an input file of texts through the engine into an output file, in input order.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>

#include "offline/output_file.h"
#include "spate/engine.h"
#include "spate/result.h"

namespace spate {

struct ScoreProgress {
  std::int64_t lines = 0;
  std::int64_t failed = 0;
  std::int64_t tokens = 0;
};

/// A bad line gets an "error" of its own. An Error means that the output could not be written.
Result<ScoreProgress> run_score(Engine& engine, std::istream& input, OutputFile& output,
                                std::int64_t top_logprobs,
                                const std::function<void(const ScoreProgress&)>& observer);

}  // namespace spate
