#include "engine/options.h"

#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace spate {
namespace {

template <class T>
using Words = std::span<const std::pair<std::string_view, T>>;

/// The value that `word` names, or an error with all the words there are.
template <class T>
Result<T> value_of(std::string_view option, std::string_view word, Words<T> words) {
  std::string known;
  for (const auto& [name, value] : words) {
    if (name == word) return value;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
  }
  return unknown_word(option, word, known);
}

using Compute = std::optional<ComputeDType>;
constexpr std::pair<std::string_view, Compute> kComputeTypes[] = {{"auto", {}},
                                                                  {"f32", ComputeDType::kF32},
                                                                  {"bf16", ComputeDType::kBF16},
                                                                  {"f16", ComputeDType::kF16}};
using Quantize = std::optional<WeightFormat>;
constexpr std::pair<std::string_view, Quantize> kWeights[] = {{"auto", {}},
                                                              {"q8", WeightFormat::kQ8},
                                                              {"q4", WeightFormat::kQ4},
                                                              {"fp8", WeightFormat::kFp8}};
constexpr std::pair<std::string_view, bool> kLoadFormats[] = {{"auto", false}, {"dummy", true}};
using CacheType = std::optional<DType>;
constexpr std::pair<std::string_view, CacheType> kCacheTypes[] = {
    {"auto", {}},           {"f32", DType::kF32}, {"f16", DType::kF16},
    {"bf16", DType::kBF16}, {"int8", DType::kI8}, {"fp8", DType::kF8E4M3}};
constexpr std::pair<std::string_view, KvCacheKind> kCacheKinds[] = {
    {"segment", KvCacheKind::kSegment}, {"paged", KvCacheKind::kPaged}};
constexpr std::pair<std::string_view, AdmissionKind> kAdmissions[] = {
    {"lookahead", AdmissionKind::kLookahead}, {"exact", AdmissionKind::kExact}};

/// Upper bounds are far beyond use; they keep sums of sizes within 64 bits.
Result<void> check_numbers(const EngineOptions& o) {
  struct Number {
    std::string_view option;
    std::int64_t value, least, most;
    std::string_view meaning;
  };
  constexpr std::int64_t kMany = std::int64_t{1} << 20;
  constexpr std::int64_t kThreads = 1024;
  constexpr std::int64_t kBytes = std::int64_t{1} << 56;
  const std::array numbers{
      Number{"max-batch-tokens", o.max_batch_tokens, 0, kMany,
             "tokens computed in one step; 0 is automatic"},
      Number{"max-requests", o.max_requests, 0, kMany, "sequences running at once; 0 is automatic"},
      Number{"kv-memory", o.kv_memory, 0, kBytes, "bytes; 0 lets Spate choose"},
      Number{"context-length", o.context_length, 0, kBytes, "tokens; 0 is the model's own"},
      Number{"threads", o.threads, 0, kThreads, "0 is one per usable core"}};
  for (const Number& n : numbers) {
    if (n.value >= n.least && n.value <= n.most) continue;
    const bool low = n.value < n.least;
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--{} {}: give at {} {} ({})", n.option, n.value,
                             low ? "least" : "most", low ? n.least : n.most, n.meaning)};
  }
  return {};
}

/// The number of the GPU that --device names; none for the CPU.
Result<std::optional<int>> gpu_of(const std::string& device) {
  if (device == "cpu") return std::optional<int>();
  if (device == "cuda") return std::optional<int>(0);
  int number = 0;
  const char* end = device.data() + device.size();
  if (device.starts_with("cuda:")) {
    const auto [rest, error] = std::from_chars(device.data() + 5, end, number);
    if (error == std::errc() && rest == end) return std::optional<int>(number);
    if (error == std::errc() && *rest == ',') {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("--device {}: one GPU at a time; use cuda:{}", device, number)};
    }
  }
  return unknown_word("device", device, "cpu, cuda, cuda:0, cuda:1, ...");
}

bool is_of_bytes(DType t) { return t == DType::kI8 || t == DType::kF8E4M3; }

/// On a GPU the cache has the type of the arithmetic, or bytes with bf16. Where the checkpoint
/// decides on the arithmetic, see check_cache_type.
bool gpu_cache_fits(DType kv, const Compute& compute) {
  if (!compute) return kv == DType::kF16;
  return kv == dtype_of(*compute) || (is_of_bytes(kv) && compute == ComputeDType::kBF16);
}

/// What a GPU has in bf16 alone decides on the arithmetic where that is open.
Result<void> settle_gpu_types(const EngineOptions& o, EngineChoices& choices) {
  Compute& compute = choices.load.params.compute;
  const std::optional<DType> kv = choices.kv_dtype;
  const bool quantized = choices.load.params.quantize.has_value();
  const bool for_bf16 = quantized || (kv && (*kv == DType::kBF16 || is_of_bytes(*kv)));
  if (!compute && for_bf16) compute = ComputeDType::kBF16;
  if (quantized && compute != ComputeDType::kBF16) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("--weights {}: a GPU multiplies these in bf16; use --dtype auto or "
                             "bf16, or --weights auto with --dtype {}",
                             o.weights, o.dtype)};
  }
  if (!kv || gpu_cache_fits(*kv, compute)) return {};
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("--kv-dtype {}: on a GPU use auto, bf16, fp8 or int8, f16 with --dtype "
                           "f16, f32 with --dtype f32",
                           o.kv_dtype)};
}

/// Formats that only a GPU has.
Result<void> check_cpu_formats(const EngineOptions& o) {
  if (o.weights == "fp8") return unknown_word("weights", o.weights, "auto, q8, q4 (fp8 on a GPU)");
  if (o.kv_dtype == "fp8") {
    return unknown_word("kv-dtype", o.kv_dtype, "auto, f32, f16, bf16, int8 (fp8 on a GPU)");
  }
  return {};
}

struct IsaChoice {
  CpuIsa isa = CpuIsa::kGeneric;
  bool amx = false;
};

/// AVX-512 is asked for by name without AMX, which rounds bf16 products in another order.
Result<IsaChoice> isa_of(const std::string& name) {
  const CpuIsa best = best_cpu_isa();
  const bool amx = best == CpuIsa::kAvx512 && amx_available();
  if (name == "auto" || (name == "amx" && amx)) return IsaChoice{best, amx};
  for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (name == name_of(isa) && isa <= best) return IsaChoice{isa};
    if (name != name_of(isa) && name != "amx") continue;
    return Error{ErrorCode::kUnsupported,
                 fmt::format("--isa {}: this machine has {} at best", name, name_of(best))};
  }
  return unknown_word("isa", name, "auto, generic, avx2, avx512, amx");
}

/// What of the options concerns the weights.
Result<LoadOptions> load_options_of(const EngineOptions& o) {
  LoadOptions load{.path = o.model, .context_length = o.context_length};
  const Result<Compute> compute = value_of<Compute>("dtype", o.dtype, kComputeTypes);
  if (!compute) return compute.error();
  load.params.compute = *compute;
  const Result<Quantize> quantize = value_of<Quantize>("weights", o.weights, kWeights);
  if (!quantize) return quantize.error();
  load.params.quantize = *quantize;
  const Result<bool> dummy = value_of<bool>("load-format", o.load_format, kLoadFormats);
  if (!dummy) return dummy.error();
  load.dummy = *dummy;
  return load;
}

Result<Policy> policy_of(const std::string& name) {
  if (const std::optional<Policy> policy = find_policy(name)) return *policy;
  return unknown_word("policy", name, "fifo, prefill-first, shortest-first, priority");
}

/// Keeps the value of a result; the first error stays.
template <class T>
void take(Result<T> from, T& to, std::optional<Error>& problem) {
  if (from) {
    to = *std::move(from);
  } else if (!problem) {
    problem = from.error();
  }
}

}  // namespace

Error unknown_word(std::string_view option, std::string_view value, std::string_view known) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("--{} {}: unknown; use one of {}", option, value, known)};
}

bool deterministic_on(int architecture, const EngineChoices& choices, ComputeDType compute) {
  constexpr int kHopper = 90;
  return choices.deterministic.value_or(architecture == kHopper && compute != ComputeDType::kF32 &&
                                        !choices.load.params.quantize.has_value());
}

Result<EngineChoices> parse_options(const EngineOptions& o) {
  if (const Result<void> numbers = check_numbers(o); !numbers) return numbers.error();
  EngineChoices choices;
  std::optional<Error> problem;
  take(gpu_of(o.device), choices.gpu, problem);
  IsaChoice isa;
  take(isa_of(o.isa), isa, problem);
  choices.isa = isa.isa;
  choices.amx = isa.amx;
  choices.deterministic = o.deterministic;
  take(load_options_of(o), choices.load, problem);
  take(value_of<CacheType>("kv-dtype", o.kv_dtype, kCacheTypes), choices.kv_dtype, problem);
  take(value_of<KvCacheKind>("kv-cache", o.kv_cache, kCacheKinds), choices.kv_cache, problem);
  take(value_of<AdmissionKind>("admission", o.admission, kAdmissions), choices.admission, problem);
  take(policy_of(o.policy), choices.policy, problem);
  if (problem) return *problem;
  const Result<void> formats = choices.gpu ? settle_gpu_types(o, choices) : check_cpu_formats(o);
  if (!formats) return formats.error();
  return choices;
}

}  // namespace spate
