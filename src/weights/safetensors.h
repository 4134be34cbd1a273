// The header of one safetensors file: what its tensors are called and where they lie. The whole
// header is validated here, so that nobody later reads outside the file. It owns no tensor data.
// Format: 8 bytes little-endian header length, JSON header, then the tensors without gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "spate/result.h"

namespace spate {

struct SafetensorsEntry {
  std::string name;
  std::string dtype_name;             // as the file spells it: "BF16"
  std::optional<DType> dtype;         // absent: legal in the format, but nothing here computes it
  std::vector<std::int64_t> shape{};  // empty for a scalar
  std::int64_t begin = 0;             // bytes from the start of the file
  std::int64_t end = 0;

  std::int64_t n_bytes() const { return end - begin; }
};

struct SafetensorsIndex {
  std::vector<SafetensorsEntry> tensors{};  // in the order of their bytes
  std::map<std::string, std::string> metadata{};
};

/// Refuses a file that contradicts itself: the error names `source`, the tensor, the offset and the
/// reason.
Result<SafetensorsIndex> parse_safetensors(std::span<const std::byte> file,
                                           std::string_view source);

}  // namespace spate
