// EngineOptions read: every word and number checked once, turned into what the engine's parts take.
// What depends on the model (the context's length) or on the machine's memory is checked later.
#pragma once

#include <optional>
#include <string_view>

#include "core/dtype.h"
#include "device/device.h"
#include "engine/admission.h"
#include "engine/model_loader.h"
#include "engine/policies.h"
#include "kv/allocator.h"
#include "spate/engine.h"
#include "spate/result.h"

namespace spate {

struct EngineChoices {
  std::optional<int> gpu{};  // its number; absent: the CPU
  CpuIsa isa = CpuIsa::kGeneric;
  bool amx = false;  // on top of kAvx512
  LoadOptions load{};
  std::optional<DType> kv_dtype{};      // absent: chosen by the model's
  std::optional<bool> deterministic{};  // absent: see deterministic_on
  KvCacheKind kv_cache = KvCacheKind::kSegment;
  AdmissionKind admission = AdmissionKind::kLookahead;
  Policy policy = fifo_policy();
};

/// An error names the option as it is spelled on the command line, its value and what it may be.
Result<EngineChoices> parse_options(const EngineOptions& options);

/// Whether a GPU with this compute capability (times ten) is to give a request bits that do not
/// depend on what runs beside it: as asked, else where it costs next to nothing. `compute`: what
/// the choice and the checkpoint come to.
bool deterministic_on(int architecture, const EngineChoices& choices, ComputeDType compute);

/// "--dtype f8: unknown; use one of ...": what every option that is a word answers.
Error unknown_word(std::string_view option, std::string_view value, std::string_view known);

}  // namespace spate
