#include "weights/dummy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/load_error.h"

namespace spate {
namespace {

constexpr std::int64_t kPoolElements =
    (std::int64_t{1} << 23) - 9;  // odd: rows do not repeat in it
constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// splitmix64 (Steele, Lea and Flood, 2014): one multiply-and-shift chain per number.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// The sum of four uniform 16-bit numbers: near enough to normal, deviation 0.02.
float bell(std::uint64_t bits) {
  const auto sum = static_cast<std::int32_t>((bits & 0xffffU) + ((bits >> 16) & 0xffffU) +
                                             ((bits >> 32) & 0xffffU) + (bits >> 48));
  constexpr float kDeviation = 65536.0F * 0.57735027F;  // sqrt(4 / 12)
  return static_cast<float>(sum - 2 * 65535) * (0.02F / kDeviation);
}

std::uint64_t hash(std::string_view name) {  // FNV-1a
  std::uint64_t h = 0xcbf29ce484222325U;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return h;
}

template <class T>
T converted(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return T::from_float(x);
  }
}

}  // namespace

DummyWeights::DummyWeights(DummyWeights&& other) noexcept
    : seed_(other.seed_),
      dtype_(other.dtype_),
      fill_matrices_(other.fill_matrices_),
      pool_(std::move(other.pool_)),
      blocks_(std::exchange(other.blocks_, {})) {}

DummyWeights::~DummyWeights() {
  for (const Block& block : blocks_) ::munmap(block.data, block.n_bytes);
}

void* DummyWeights::make(std::string_view name, std::int64_t count, bool is_vector) {
  const auto n_bytes = static_cast<std::size_t>(count * size_of(dtype_));
  std::byte* out = allocate(n_bytes);
  if (is_vector && name.find("norm") != std::string_view::npos) {
    visit_float_dtype(dtype_, [&]<class T>() {
      std::fill_n(reinterpret_cast<T*>(out), count, converted<T>(1.0F));
    });
    return out;
  }
  if (!is_vector && !fill_matrices_) return out;
  if (pool_.empty()) fill_pool();
  const auto element = static_cast<std::size_t>(size_of(dtype_));
  std::size_t from = mix(hash(name) ^ seed_) % static_cast<std::size_t>(kPoolElements) * element;
  for (std::size_t done = 0; done < n_bytes;) {
    const std::size_t n = std::min(n_bytes - done, pool_.size() - from);
    std::memcpy(out + done, pool_.data() + from, n);
    done += n;
    from = 0;
  }
  return out;
}

void DummyWeights::fill_pool() {
  const std::uint64_t start = mix(seed_);  // neighbouring seeds must not share numbers
  pool_.resize(static_cast<std::size_t>(kPoolElements * size_of(dtype_)));
  visit_float_dtype(dtype_, [&]<class T>() {
    T* out = reinterpret_cast<T*>(pool_.data());
    for (std::int64_t i = 0; i < kPoolElements; ++i) {
      out[i] = converted<T>(bell(mix(start + static_cast<std::uint64_t>(i))));
    }
  });
}

std::byte* DummyWeights::allocate(std::size_t n_bytes) {
  // One mapping per tensor; large ones begin on a huge page, where first touches cost a seventh.
  const std::size_t slack = n_bytes >= kHugePage ? kHugePage : 0;
  const std::size_t length = std::max<std::size_t>(n_bytes, 1) + slack;
  void* data = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    throw LoadError(
        ErrorCode::kOutOfMemory,
        fmt::format("dummy weights: cannot allocate {} bytes: {}", length, std::strerror(errno)));
  }
  blocks_.push_back({data, length});
  if (slack == 0) return static_cast<std::byte*>(data);
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  auto* begin = static_cast<std::byte*>(data) + (kHugePage - address % kHugePage) % kHugePage;
  ::madvise(begin, n_bytes, MADV_HUGEPAGE);
  return begin;
}

void DummyWeights::release(std::span<const std::byte> part) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto past = reinterpret_cast<std::uintptr_t>(part.data()) % page;
  const std::size_t skip = past == 0 ? 0 : page - past;
  if (part.size() < skip + page) return;
  auto* first = const_cast<std::byte*>(part.data()) + skip;
  ::madvise(first, (part.size() - skip) / page * page, MADV_DONTNEED);
}

}  // namespace spate
