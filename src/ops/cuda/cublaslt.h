// cuBLASLt, loaded when a GPU first needs it: the library takes half a gigabyte, and a fifth of a
// second of every start if it is linked. cublasLt.h's functions are defined in cublaslt.cu and
// forward to it.
#pragma once

#include <string>

namespace spate::ops::cuda {

/// Loads the library. Empty, or why it can't be: then its functions return
/// CUBLAS_STATUS_NOT_INITIALIZED. Any thread.
const std::string& why_no_cublaslt();

}  // namespace spate::ops::cuda
