// LinearState: what products keep for each GPU: the library's handle and its scratch memory, and
// which matrices the chain kernel may take in its place.
#pragma once

#include <map>
#include <memory>
#include <tuple>

#include "device/buffer.h"
#include "device/device.h"
#include "device/gpu.h"
#include "ops/cuda/gemm_lt.h"
#include "ops/cuda/product_result.h"

namespace spate::ops::cuda {

class LinearState : public GpuExtension {
 public:
  static LinearState& of(Device& device);
  explicit LinearState(bool deterministic);

  void run(Device& device, const LtProblem& problem);
  /// Whether products with this matrix have the library's bits in the chain kernels too; tried when
  /// it is first met, unless a graph is being captured.
  bool chain_has_its_bits(Device& device, const LtProblem& problem, ProductResult result);

 private:
  using Key = std::tuple<std::int64_t, std::int64_t, DType, DType, bool, ProductResult>;
  LtScratch scratch(const Device& device) const;

  std::unique_ptr<GemmLt> lt_;
  Buffer workspace_;
  std::map<Key, bool> chain_bits_{};
};

}  // namespace spate::ops::cuda
