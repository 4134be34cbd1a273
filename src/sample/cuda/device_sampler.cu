#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/check.h"
#include "sample/cuda/device_sampler.h"
#include "sample/params.h"
#include "spate/kernels/cuda/sample.cuh"
#include "spate/kernels/cuda/sample_greedy.cuh"

namespace spate {
namespace {

Result<void> checked(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return Error{ErrorCode::kInternal,
               fmt::format("{} failed on the GPU: {}", what, cudaGetErrorString(error))};
}

struct FreeDevice {
  void operator()(void* p) const { cudaFree(p); }
};
struct FreePinned {
  void operator()(void* p) const { cudaFreeHost(p); }
};
template <class T>
using DevicePointer = std::unique_ptr<T[], FreeDevice>;
template <class T>
using PinnedPointer = std::unique_ptr<T[], FreePinned>;

template <class T>
cudaError_t allocate(std::int64_t n, DevicePointer<T>* out) {
  void* p = nullptr;
  const cudaError_t error = cudaMalloc(&p, static_cast<std::size_t>(n) * sizeof(T));
  out->reset(static_cast<T*>(p));
  return error;
}
template <class T>
cudaError_t allocate(std::int64_t n, PinnedPointer<T>* out) {
  void* p = nullptr;
  const cudaError_t error = cudaMallocHost(&p, static_cast<std::size_t>(n) * sizeof(T));
  out->reset(static_cast<T*>(p));
  return error;
}

struct Results {
  std::int32_t* tokens;
  std::int32_t* errors;
  float* logprobs;
};

// [3][rows]: tokens, errors, logprobs, so that one copy brings all.
Results results_at(std::int32_t* base, std::int64_t rows) {
  return {base, base + rows, reinterpret_cast<float*>(base + 2 * rows)};
}

bool penalizes(const SamplingParams& p) {
  return p.repetition_penalty != 1 || p.presence_penalty != 0 || p.frequency_penalty != 0;
}

// Nothing else, whatever has been generated.
bool asks_for_the_largest(const SamplingParams& p) {
  return p.temperature < kGreedyBelow && !penalizes(p) && p.banned_token_ids.empty() &&
         p.min_tokens <= 0 && !p.logprobs;
}

// Marks of one slot by token, each once.
class Marks {
 public:
  void flag(TokenId id, cuda::TokenMark flag) {
    cuda::TokenMark& mark = at(id);
    mark = static_cast<cuda::TokenMark>(mark | flag);
  }
  void count(TokenId id) {
    cuda::TokenMark& mark = at(id);
    if ((mark & cuda::kMostOutputs) != cuda::kMostOutputs) ++mark;
  }
  explicit Marks(std::int64_t vocab) : of_token_(static_cast<std::size_t>(vocab), 0) {}
  std::vector<cuda::MarkEntry> entries() const {
    std::vector<cuda::MarkEntry> list;
    for (std::size_t i = 0; i < of_token_.size(); ++i) {
      if (of_token_[i] != 0) list.push_back({static_cast<TokenId>(i), of_token_[i]});
    }
    return list;
  }

 private:
  cuda::TokenMark& at(TokenId id) { return of_token_[static_cast<std::size_t>(id)]; }
  std::vector<cuda::TokenMark> of_token_;
};

std::vector<cuda::MarkEntry> marks_of(const DeviceSampler::Request& r, std::int64_t vocab) {
  const SamplingParams& p = *r.params;
  const bool masks_endings = p.min_tokens > static_cast<std::int64_t>(r.output.size());
  if (!penalizes(p) && p.banned_token_ids.empty() && !masks_endings) return {};
  Marks marks(vocab);
  for (const TokenId id : p.banned_token_ids) marks.flag(id, cuda::kBanned);
  if (masks_endings) {
    const auto end = [&](TokenId id) {
      if (id >= 0 && id < vocab) marks.flag(id, cuda::kEnding);
    };
    for (const TokenId id : p.stop_token_ids) end(id);
    for (const TokenId id : r.eos_ids) {
      if (!p.ignore_eos) end(id);
    }
  }
  if (p.repetition_penalty != 1) {
    for (const TokenId id : r.prompt) marks.flag(id, cuda::kInPrompt);
  }
  if (penalizes(p)) {
    for (const TokenId id : r.output) marks.count(id);
  }
  return marks.entries();
}

cuda::SlotRules rules_of(const DeviceSampler::Request& r) {
  const SamplingParams& p = *r.params;
  cuda::SlotRules rules;
  rules.seed = r.key.seed;
  rules.sequence = r.key.sequence;
  rules.inverse_temperature = p.temperature < kGreedyBelow ? 0.F : 1.F / p.temperature;
  rules.top_k = static_cast<std::int32_t>(std::clamp<std::int64_t>(p.top_k, 0, INT32_MAX));
  rules.top_p = p.top_p;
  rules.min_p = p.min_p;
  rules.repetition = p.repetition_penalty;
  rules.presence = p.presence_penalty;
  rules.frequency = p.frequency_penalty;
  rules.min_tokens = p.min_tokens;
  rules.wants_logprob = p.logprobs ? 1 : 0;
  return rules;
}

}  // namespace

struct DeviceSampler::State {
  Shape shape{};
  bool samples = cuda::can_sample();
  DevicePointer<cuda::SlotRules> rules{};               // [slots]
  DevicePointer<std::int64_t> outputs{};                // [slots]
  DevicePointer<cuda::TokenMark> marks{};               // [slots, vocab]
  DevicePointer<cuda::MarkEntry> entries{};             // [vocab], of the slot being set
  DevicePointer<std::int32_t> results{};                // [3, rows]
  PinnedPointer<cuda::SlotRules> host_rules{};          // [slots]
  PinnedPointer<std::int64_t> host_outputs{};           // [slots]
  PinnedPointer<std::int32_t> host_results[kCopies]{};  // [3, rows]
};

bool DeviceSampler::is_greedy_only() const { return !state_->samples; }

bool DeviceSampler::supports(const SamplingParams& params) const {
  if (!state_->samples && !asks_for_the_largest(params)) return false;
  return params.typical_p >= 1 && params.logit_bias.empty() && params.allowed_token_ids.empty() &&
         params.logprobs.value_or(0) == 0;
}

std::int64_t DeviceSampler::device_bytes(const Shape& s) {
  const auto size = [](std::size_t bytes) { return static_cast<std::int64_t>(bytes); };
  return s.slots * (size(sizeof(cuda::SlotRules)) + 8 + s.vocab * size(sizeof(cuda::TokenMark))) +
         s.vocab * size(sizeof(cuda::MarkEntry)) + s.rows * 12;
}

std::int64_t DeviceSampler::locked_bytes(const Shape& s) {
  return s.slots * (static_cast<std::int64_t>(sizeof(cuda::SlotRules)) + 8) + kCopies * s.rows * 12;
}

DeviceSampler::DeviceSampler(std::unique_ptr<State> state) : state_(std::move(state)) {}
DeviceSampler::~DeviceSampler() = default;

Result<std::unique_ptr<DeviceSampler>> DeviceSampler::make(const Shape& shape) {
  if (shape.vocab > cuda::kMostVocab) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a vocabulary of {} is too large to sample from on the GPU (at most "
                             "{}); sample on the host",
                             shape.vocab, cuda::kMostVocab)};
  }
  auto state = std::make_unique<State>();
  State& s = *state;
  s.shape = shape;
  cudaError_t error = allocate(shape.slots, &s.rules);
  const auto next = [&](auto* pointer, std::int64_t n) {
    if (error == cudaSuccess) error = allocate(n, pointer);
  };
  next(&s.outputs, shape.slots);
  next(&s.marks, shape.slots * shape.vocab);
  next(&s.entries, shape.vocab);
  next(&s.results, 3 * shape.rows);
  next(&s.host_rules, shape.slots);
  next(&s.host_outputs, shape.slots);
  for (auto& copy : s.host_results) next(&copy, 3 * shape.rows);
  const Result<void> allocated =
      checked(error, fmt::format("allocating {} bytes for the sampling of {} slots",
                                 device_bytes(shape), shape.slots)
                         .c_str());
  if (!allocated) return allocated.error();
  std::fill_n(s.host_rules.get(), shape.slots, cuda::SlotRules{});
  return std::unique_ptr<DeviceSampler>(new DeviceSampler(std::move(state)));
}

Result<void> DeviceSampler::set_slot(std::int64_t slot, const Request& request,
                                     CUstream_st* stream) {
  State& s = *state_;
  SPATE_CHECK_OP(slot, >=, 0);
  SPATE_CHECK_OP(slot, <, s.shape.slots);
  SPATE_CHECK(supports(*request.params));
  const std::vector<cuda::MarkEntry> entries = marks_of(request, s.shape.vocab);
  s.host_rules[static_cast<std::size_t>(slot)] = rules_of(request);
  s.host_rules[static_cast<std::size_t>(slot)].has_marks =
      !entries.empty() || penalizes(*request.params) ? 1 : 0;
  s.host_outputs[static_cast<std::size_t>(slot)] = static_cast<std::int64_t>(request.output.size());
  const auto copy = [&](void* to, const void* from, std::size_t bytes) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream);
  };
  cudaError_t error =
      copy(s.rules.get() + slot, s.host_rules.get() + slot, sizeof(cuda::SlotRules));
  if (error == cudaSuccess) error = copy(s.outputs.get() + slot, s.host_outputs.get() + slot, 8);
  if (error == cudaSuccess && s.host_rules[static_cast<std::size_t>(slot)].has_marks != 0) {
    cuda::TokenMark* marks = s.marks.get() + slot * s.shape.vocab;
    error =
        cudaMemsetAsync(marks, 0, static_cast<std::size_t>(s.shape.vocab) * sizeof(*marks), stream);
    // From pageable memory: `entries` may go when the call returns.
    if (error == cudaSuccess && !entries.empty()) {
      error = copy(s.entries.get(), entries.data(), entries.size() * sizeof(entries[0]));
    }
    if (error == cudaSuccess) {
      error = cuda::launch_mark({marks, s.entries.get(), static_cast<std::int64_t>(entries.size())},
                                stream);
    }
  }
  return checked(error, "setting a slot's sampling rules");
}

bool DeviceSampler::is_plain_greedy(std::int64_t slot) const {
  const cuda::SlotRules& rules = state_->host_rules[static_cast<std::size_t>(slot)];
  return rules.inverse_temperature == 0 && rules.has_marks == 0 && rules.wants_logprob == 0;
}

Result<void> DeviceSampler::sample(const Batch& batch, CUstream_st* stream) {
  State& s = *state_;
  SPATE_CHECK_OP(batch.rows, <=, s.shape.rows);
  const Results results = results_at(s.results.get(), s.shape.rows);
  if (batch.plain_greedy) {
    cuda::GreedyParams p;
    p.logits = batch.logits;
    p.stride = batch.stride;
    p.vocab = static_cast<int>(s.shape.vocab);
    p.slots = batch.slots;
    p.sampled = batch.sampled;
    p.tokens = results.tokens;
    p.errors = results.errors;
    p.rows = batch.rows;
    p.dependent_launch = batch.dependent_launch;
    return checked(cuda::launch_greedy(p, stream), "sampling");
  }
  cuda::SampleParams p;
  p.logits = batch.logits;
  p.stride = batch.stride;
  p.vocab = static_cast<int>(s.shape.vocab);
  p.rows = batch.rows;
  p.slots = batch.slots;
  p.rules = s.rules.get();
  p.outputs = s.outputs.get();
  p.marks = s.marks.get();
  p.sampled = batch.sampled;
  p.tokens = results.tokens;
  p.errors = results.errors;
  p.logprobs = results.logprobs;
  p.dependent_launch = batch.dependent_launch;
  return checked(cuda::launch_sample(p, stream), "sampling");
}

Result<void> DeviceSampler::copy_results(int copy, std::int64_t rows, CUstream_st* stream) {
  State& s = *state_;
  SPATE_CHECK_OP(rows, <=, s.shape.rows);
  const auto pitch = static_cast<std::size_t>(s.shape.rows) * 4;
  return checked(
      cudaMemcpy2DAsync(s.host_results[copy].get(), pitch, s.results.get(), pitch,
                        static_cast<std::size_t>(rows) * 4, 3, cudaMemcpyDeviceToHost, stream),
      "copying sampled tokens");
}

DeviceSampler::Row DeviceSampler::result(int copy, std::int64_t row) const {
  const Results results = results_at(state_->host_results[copy].get(), state_->shape.rows);
  return {results.tokens[row], static_cast<Outcome>(results.errors[row]), results.logprobs[row]};
}

}  // namespace spate
