#include "models/params.h"

namespace spate {

WeightFormat ParamStore::format_of(DType stored, Use use) const {
  if (options_.quantize) return use == Use::kHead ? WeightFormat::kQ8 : *options_.quantize;
  if (stored == DType::kF32) return WeightFormat::kF32;
  if (stored == DType::kF16) return WeightFormat::kF16;
  return options_.compute == ComputeDType::kF32 ? WeightFormat::kWideBF16 : WeightFormat::kBF16;
}

Matrix& ParamStore::matrix(DType stored, std::int64_t k, std::vector<PanelSource> sources,
                           Use use) {
  return matrices_.emplace_back(format_of(stored, use), stored, k, std::move(sources));
}

const float* ParamStore::vector(Tensor t) {
  std::vector<float>& v = vectors_.emplace_back(static_cast<std::size_t>(t.count()));
  visit_float_dtype(t.dtype(), [&]<class T>() {
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = to_float(t.as<T>()[i]);
  });
  return v.data();
}

RopeTable& ParamStore::rope(const RopeConfig& config, std::int64_t head_dim,
                            std::int64_t n_positions) {
  for (RopeTable& table : ropes_) {
    if (table.serves(config, head_dim)) return table;
  }
  return ropes_.emplace_back(config, head_dim, n_positions);
}

std::int64_t ParamStore::matrix_bytes() const {
  std::int64_t n = 0;
  for (const Matrix& m : matrices_) n += m.packed_bytes();
  return n;
}

}  // namespace spate
