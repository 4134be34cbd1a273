#include "ops/cuda/linear_chain.h"
#include "ops/cuda/linear_state.h"
#include "ops/cuda/measuring.h"

namespace spate::ops::cuda {

LinearState& LinearState::of(Device& device) {
  std::unique_ptr<GpuExtension>& slot = device.gpu()->extension();
  if (slot == nullptr) slot = std::make_unique<LinearState>(device.gpu()->deterministic());
  return static_cast<LinearState&>(*slot);
}

LinearState::LinearState(bool deterministic)
    : lt_(device_value(GemmLt::create({.deterministic = deterministic}))),
      workspace_(device_value(Buffer::reserve_gpu(kLtWorkspaceBytes))) {}

void LinearState::run(Device& device, const LtProblem& problem) {
  device_done(lt_->run(problem, scratch(device)));
}

bool LinearState::chain_has_its_bits(Device& device, const LtProblem& problem,
                                     ProductResult result) {
  const Key key{problem.n, problem.k, problem.in, problem.out, problem.bias != nullptr, result};
  if (const auto known = chain_bits_.find(key); known != chain_bits_.end()) return known->second;
  if (is_capturing(device.gpu()->stream())) return false;
  const bool same = chain_has_bits_of(*lt_, problem, result, *device.gpu(), scratch(device));
  return chain_bits_[key] = same;
}

LtScratch LinearState::scratch(const Device& device) const {
  return {.workspace = workspace_.data(),
          .n_bytes = workspace_.n_bytes(),
          .stream = device.gpu()->stream()};
}

}  // namespace spate::ops::cuda
