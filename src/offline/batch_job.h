// A batch job: an input file of requests through the engine into an output file. Reads lazily,
// keeps the engine full, isolates bad lines, resumes after a crash.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <string>

#include "offline/output_file.h"
#include "spate/engine.h"
#include "spate/result.h"

namespace spate {

struct BatchOptions {
  SamplingParams defaults{};
  bool keep_order = false;         // output in input order instead of as finished
  std::int64_t max_queued = 1024;  // requests in the engine at once
  std::uint64_t seed = 0;          // with the line's number: the seed of a line that brings none
};

struct BatchProgress {
  std::int64_t lines = 0;     // read so far, skipped ones included
  std::int64_t finished = 0;  // written by this run, failed ones included
  std::int64_t failed = 0;
  std::int64_t skipped = 0;  // finished by an earlier run
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  bool input_ended = false;
  bool stopped = false;  // by the observer
};

/// Called after every step; returns whether to go on. Stopping is orderly: what has finished is
/// written, the rest is left for the next run.
using BatchObserver = std::function<bool(const BatchProgress&)>;

/// Runs the job to its end. What an earlier run has written is not done again: of n input lines
/// with one id, as many as the output has lines with it, from the first on, since lines with the
/// same id are written in input order. An Error means that the output could not be written.
Result<BatchProgress> run_batch(Engine& engine, std::istream& input, OutputFile& output,
                                const BatchOptions& options, const BatchObserver& observer);

}  // namespace spate
