#include "models/params.h"

#include <algorithm>

#include "core/load_error.h"
#include "device/gpu.h"

namespace spate {

DType dtype_of(ComputeDType compute) {
  if (compute == ComputeDType::kF32) return DType::kF32;
  return compute == ComputeDType::kF16 ? DType::kF16 : DType::kBF16;
}

WeightFormat ParamStore::format_of(DType stored, Use use) const {
  if (options_.quantize == WeightFormat::kFp8) return WeightFormat::kFp8;
  if (options_.quantize) return use == Use::kHead ? WeightFormat::kQ8 : *options_.quantize;
  const DType compute = options_.compute ? dtype_of(*options_.compute) : stored;
  const bool widens = compute == DType::kF32 && !device_.is_cuda();
  switch (widens ? stored : compute) {
    case DType::kF32:
      return WeightFormat::kF32;
    case DType::kF16:
      return WeightFormat::kF16;
    default:
      return widens ? WeightFormat::kWideBF16 : WeightFormat::kBF16;
  }
}

Matrix& ParamStore::matrix(DType stored, std::int64_t k, std::vector<PanelSource> sources, Use use,
                           PanelOrder order) {
  return matrices_.emplace_back(format_of(stored, use), stored, k, std::move(sources), order);
}

float* ParamStore::gpu_floats(std::int64_t n) {
  constexpr std::int64_t kChunk = std::int64_t{4} << 20;
  constexpr std::int64_t kAlign = 256;
  const std::int64_t n_bytes = (n * std::int64_t{sizeof(float)} + kAlign - 1) / kAlign * kAlign;
  if (gpu_chunks_.empty() || gpu_used_ + n_bytes > gpu_chunks_.back().n_bytes()) {
    gpu_chunks_.push_back(value_or_throw(Buffer::reserve_gpu(std::max(kChunk, n_bytes))));
    gpu_used_ = 0;
  }
  std::byte* at = gpu_chunks_.back().data() + gpu_used_;
  gpu_used_ += n_bytes;
  return reinterpret_cast<float*>(at);
}

const float* ParamStore::vector(std::span<const float> values) {
  if (!device_.is_cuda()) return vectors_.emplace_back(values.begin(), values.end()).data();
  float* at = gpu_floats(static_cast<std::int64_t>(values.size()));
  device_.gpu()->copy(at, values.data(), static_cast<std::int64_t>(values.size_bytes()));
  device_.gpu()->wait();  // `values` may go
  return at;
}

std::vector<float> ParamStore::values(Tensor t) {
  std::vector<float> v(static_cast<std::size_t>(t.count()));
  visit_float_dtype(t.dtype(), [&]<class T>() {
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = to_float(t.as<T>()[i]);
  });
  return v;
}

const float* ParamStore::vector(Tensor t) { return vector(values(t)); }

RopeTable& ParamStore::rope(const RopeConfig& config, std::int64_t head_dim,
                            std::int64_t n_positions) {
  for (RopeTable& table : ropes_) {
    if (table.serves(config, head_dim)) return table;
  }
  return ropes_.emplace_back(config, head_dim, n_positions, device_.gpu());
}

std::int64_t ParamStore::matrix_bytes() const {
  std::int64_t n = 0;
  for (const Matrix& m : matrices_) n += m.packed_bytes();
  return n;
}

std::int64_t ParamStore::vector_bytes() const {
  std::int64_t n = 0;
  for (const std::vector<float>& v : vectors_)
    n += static_cast<std::int64_t>(v.size() * sizeof(float));
  for (const Buffer& chunk : gpu_chunks_) n += chunk.n_bytes();
  for (const RopeTable& rope : ropes_) n += rope.n_bytes();
  return n;
}

}  // namespace spate
