#include "core/check.h"
#include "sample/cuda/device_sampler.h"

namespace spate {

struct DeviceSampler::State {};

bool DeviceSampler::supports(const SamplingParams& /*params*/) const { return false; }
bool DeviceSampler::is_greedy_only() const { return true; }
std::int64_t DeviceSampler::device_bytes(const Shape& /*shape*/) { return 0; }
DeviceSampler::DeviceSampler(std::unique_ptr<State> state) : state_(std::move(state)) {}
DeviceSampler::~DeviceSampler() = default;

Result<std::unique_ptr<DeviceSampler>> DeviceSampler::make(const Shape& /*shape*/) {
  return Error{ErrorCode::kInvalidArgument,
               "this build has no CUDA; build with the preset `cuda`, or use --device cpu"};
}

// No object exists, so nothing below is ever called.
Result<void> DeviceSampler::set_slot(std::int64_t /*slot*/, const Request& /*request*/,
                                     CUstream_st* /*stream*/) {
  SPATE_CHECK(false);
  return {};
}
bool DeviceSampler::is_plain_greedy(std::int64_t /*slot*/) const { return false; }
Result<void> DeviceSampler::sample(const Batch& /*batch*/, CUstream_st* /*stream*/) {
  SPATE_CHECK(false);
  return {};
}
Result<void> DeviceSampler::copy_results(int /*copy*/, std::int64_t /*rows*/,
                                         CUstream_st* /*stream*/) {
  SPATE_CHECK(false);
  return {};
}
DeviceSampler::Row DeviceSampler::result(int /*copy*/, std::int64_t /*row*/) const { return {}; }

}  // namespace spate
