#include <cublasLt.h>
#include <dlfcn.h>

#include "ops/cuda/cublaslt.h"

namespace spate::ops::cuda {
namespace {

#define SPATE_QUOTED(x) #x
#define SPATE_TEXT(x) SPATE_QUOTED(x)
constexpr const char* kFile = "libcublasLt.so." SPATE_TEXT(CUBLAS_VER_MAJOR);
#undef SPATE_TEXT
#undef SPATE_QUOTED

struct Library {
  void* handle = nullptr;
  std::string problem;
};

Library load() {
  // Where the loader looks, then where the toolkit puts it.
  for (const std::string& folder : {std::string(), std::string("/usr/local/cuda/lib64/")}) {
    if (void* handle = dlopen((folder + kFile).c_str(), RTLD_NOW | RTLD_LOCAL)) return {handle, {}};
  }
  return {nullptr, dlerror()};
}

/// Stays loaded to the end of the program.
const Library& library() {
  static const Library the_library = load();
  return the_library;
}

/// The library's function of this name and type.
template <class... P>
class Function {
 public:
  Function(const char* name, cublasStatus_t (* /*of the same type*/)(P...)) {
    if (library().handle == nullptr) return;
    function_ = reinterpret_cast<cublasStatus_t (*)(P...)>(dlsym(library().handle, name));
  }
  cublasStatus_t operator()(P... arguments) const {
    return function_ == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : function_(arguments...);
  }

 private:
  cublasStatus_t (*function_)(P...) = nullptr;
};

}  // namespace

const std::string& why_no_cublaslt() { return library().problem; }

}  // namespace spate::ops::cuda

#define SPATE_FORWARD(name, ...)                                 \
  static const spate::ops::cuda::Function function(#name, name); \
  return function(__VA_ARGS__)

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { SPATE_FORWARD(cublasLtCreate, handle); }

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { SPATE_FORWARD(cublasLtDestroy, handle); }

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  SPATE_FORWARD(cublasLtMatmul, handle, operation, alpha, a, a_layout, b, b_layout, beta, c,
                c_layout, d, d_layout, algorithm, workspace, workspace_bytes, stream);
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size,
                                                 cudaDataType type, uint64_t rows, uint64_t columns,
                                                 int64_t stride) {
  SPATE_FORWARD(cublasLtMatrixLayoutInit_internal, layout, size, type, rows, columns, stride);
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t operation, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  SPATE_FORWARD(cublasLtMatmulDescInit_internal, operation, size, compute, scale);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t n_bytes) {
  SPATE_FORWARD(cublasLtMatmulDescSetAttribute, operation, attribute, value, n_bytes);
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference,
                                                     size_t size) {
  SPATE_FORWARD(cublasLtMatmulPreferenceInit_internal, preference, size);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t n_bytes) {
  SPATE_FORWARD(cublasLtMatmulPreferenceSetAttribute, preference, attribute, value, n_bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a_layout,
    cublasLtMatrixLayout_t b_layout, cublasLtMatrixLayout_t c_layout,
    cublasLtMatrixLayout_t d_layout, cublasLtMatmulPreference_t preference, int wanted,
    cublasLtMatmulHeuristicResult_t results[], int* n_found) {
  SPATE_FORWARD(cublasLtMatmulAlgoGetHeuristic, handle, operation, a_layout, b_layout, c_layout,
                d_layout, preference, wanted, results, n_found);
}

}  // extern "C"
