// Any bytes as a safetensors file: no crash, and an accepted file holds every tensor it lists.
#include <cstddef>
#include <cstdint>

#include "core/check.h"
#include "weights/safetensors.h"

// The name is libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  const spate::Result<spate::SafetensorsIndex> index = spate::parse_safetensors(file, "fuzz");
  if (!index) return 0;
  std::int64_t at = index->tensors.empty() ? 0 : index->tensors.front().begin;
  for (const spate::SafetensorsEntry& t : index->tensors) {
    SPATE_CHECK_OP(t.begin, ==, at);
    SPATE_CHECK_OP(t.n_bytes(), >=, 0);
    std::int64_t count = 1;
    for (const std::int64_t extent : t.shape) count *= extent;
    if (t.dtype) SPATE_CHECK_OP(count * spate::size_of(*t.dtype), ==, t.n_bytes());
    at = t.end;
  }
  SPATE_CHECK_OP(at, <=, static_cast<std::int64_t>(size));
  return 0;
}
