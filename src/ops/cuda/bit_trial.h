// BitTrial: whether two algorithms of a product give the same bits, tried on random rows. Sums of
// thousands of products agree in every bit only if they are made in the same order.
#pragma once

#include "device/buffer.h"
#include "ops/cuda/gemm_lt.h"

namespace spate::ops::cuda {

class BitTrial {
 public:
  /// Rows and results of its own; the weights of `like`, at most 2048 of its rows.
  BitTrial(const LtProblem& like, CUstream_st* stream);

  /// False: there was no memory for it.
  bool ready() const { return problem_.d != nullptr; }
  /// To be run with an algorithm; its d is zero before, or 0.747 where it is added to.
  const LtProblem& next();
  /// What ran is what others must equal.
  void keep();
  /// Whether what ran equals it. Waits for the stream.
  bool same();

 private:
  LtProblem problem_;
  CUstream_st* stream_;
  Buffer rows_, scales_, results_, differences_;
};

}  // namespace spate::ops::cuda
