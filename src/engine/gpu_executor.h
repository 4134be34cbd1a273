// GpuExecutor: plans on a GPU, one ahead. Sampled tokens stay there and feed the next plan; steps
// of single tokens are replayed from graphs.
#pragma once

#include <memory>

#include "device/arena.h"
#include "device/device.h"
#include "engine/executor.h"
#include "kv/cache.h"
#include "models/language_model.h"
#include "models/params.h"
#include "ops/cuda/attention_work.h"

namespace spate {

/// The largest step.
struct GpuLimits {
  std::int64_t max_rows = 0;
  std::int64_t max_requests = 0;
  std::int64_t max_logit_rows = 0;
  std::int64_t context_length = 0;
  std::int64_t attention_shapes = 1;  // different windows among the layers
  bool deterministic = false;
};

/// Of a deterministic step: rows of generated tokens besides one of each request.
inline constexpr std::int64_t kMostRecomputedRows = ops::cuda::kMostRecomputedRows;

struct GpuParts {
  Device& device;
  const LanguageModel& model;
  ParamStore& params;
  KvCache kv;
  GpuLimits limits{};
  std::int64_t arena_bytes = 0;  // gpu_workspace_bytes and the logits
};

/// Bytes of arena that a step's results need besides its logits.
std::int64_t gpu_workspace_bytes(const DecoderShape& shape, const GpuLimits& limits,
                                 ComputeDType compute);

/// Bytes that the executor and the operators take besides.
struct GpuTables {
  std::int64_t on_gpu = 0;         // the batch, attention's scratch, sampling, cuBLASLt's scratch
  std::int64_t page_locked = 0;    // what the batch is copied from and tokens come back to
  std::int64_t locked_logits = 0;  // page-locked: taken when the host first wants logits
};
GpuTables gpu_table_bytes(const DecoderShape& shape, const GpuLimits& limits, DType kv_dtype);

Result<std::unique_ptr<Executor>> make_gpu_executor(GpuParts parts, const DecoderShape& shape);

}  // namespace spate
