#include "device/buffer.h"

#include <cstring>

#include <fmt/format.h>
#include <sys/mman.h>

#include "core/check.h"

namespace spate {
namespace {

constexpr std::int64_t kHugePage = std::int64_t{2} << 20;

std::size_t mapped_bytes(std::int64_t n_bytes) {
  return static_cast<std::size_t>((n_bytes + kHugePage - 1) / kHugePage * kHugePage);
}

}  // namespace

Result<Buffer> Buffer::reserve_host(std::int64_t n_bytes) {
  SPATE_CHECK_OP(n_bytes, >=, 0);
  if (n_bytes == 0) return Buffer();
  // One huge page more than needed, so that an aligned run of whole huge pages lies inside.
  const std::size_t wanted = mapped_bytes(n_bytes);
  const std::size_t mapped = wanted + static_cast<std::size_t>(kHugePage);
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    return Error{ErrorCode::kOutOfMemory,
                 fmt::format("the system refused {} bytes of memory ({}); use a smaller cache, "
                             "fewer sequences or --weights q4",
                             n_bytes, std::strerror(errno))};
  }
  auto* start = static_cast<std::byte*>(base);
  const auto address = reinterpret_cast<std::uintptr_t>(base);
  const std::size_t head = (static_cast<std::size_t>(kHugePage) - address) % kHugePage;
  const std::size_t tail = mapped - wanted - head;
  if (head > 0) munmap(start, head);
  if (tail > 0) munmap(start + head + wanted, tail);
  // Refused where huge pages are switched off: then small pages it is.
  madvise(start + head, wanted, MADV_HUGEPAGE);
  return Buffer(start + head, n_bytes,
                [](std::byte* data, std::int64_t n) { munmap(data, mapped_bytes(n)); });
}

Buffer::~Buffer() {
  if (data_ != nullptr) release_(data_, n_bytes_);
}

}  // namespace spate
