#include "weights/safetensors.h"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "weights/quote_name.h"
#include "weights/safetensors_header.h"

namespace spate {
namespace {

constexpr std::int64_t kPrefixBytes = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference reader

struct Format {
  std::string_view name;
  std::int64_t bits;
};

// Every element type of the format, so that a file is checked whole even where we read a part.
constexpr auto kFormats = std::to_array<Format>({
    {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E4M3", 8}, {"F8_E5M2", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},      {"F6_E2M3", 6},
    {"F6_E3M2", 6}, {"I16", 16},        {"U16", 16},        {"F16", 16},    {"BF16", 16},
    {"I32", 32},    {"U32", 32},        {"F32", 32},        {"C64", 64},    {"F64", 64},
    {"I64", 64},    {"U64", 64},
});

std::int64_t bits_of(std::string_view dtype_name) {
  const auto* found = std::ranges::find(kFormats, dtype_name, &Format::name);
  return found == kFormats.end() ? 0 : found->bits;
}

Error corrupt(std::string_view source, std::string_view what) {
  return {ErrorCode::kCorrupt, fmt::format("{}: {}", source, what)};
}

Error corrupt(std::string_view source, const SafetensorsEntry& t, std::string_view what) {
  return corrupt(source,
                 fmt::format("tensor {} at byte {}: {}", quote_name(t.name), t.begin, what));
}

/// The bytes that dtype and shape ask for; nothing when they overflow or end inside a byte.
std::optional<std::int64_t> expected_bytes(const SafetensorsEntry& t) {
  std::int64_t bits = bits_of(t.dtype_name);
  for (const std::int64_t extent : t.shape) {
    if (__builtin_mul_overflow(bits, extent, &bits)) return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

Result<void> check_entry(const SafetensorsEntry& t, std::int64_t file_size,
                         std::string_view source) {
  if (bits_of(t.dtype_name) == 0) {
    return corrupt(source, t, fmt::format("unknown dtype {}", quote_name(t.dtype_name)));
  }
  if (t.begin > t.end) {
    return corrupt(source, t, fmt::format("data_offsets end at byte {}, before they begin", t.end));
  }
  const auto expected = expected_bytes(t);
  if (!expected) {
    return corrupt(source, t,
                   fmt::format("shape [{}] of {} has no valid size in bytes",
                               fmt::join(t.shape, ", "), t.dtype_name));
  }
  if (*expected != t.n_bytes()) {
    return corrupt(source, t,
                   fmt::format("shape [{}] of {} takes {} bytes, data_offsets have {}",
                               fmt::join(t.shape, ", "), t.dtype_name, *expected, t.n_bytes()));
  }
  if (t.end > file_size) {
    return corrupt(source, t,
                   fmt::format("ends at byte {}, but the file has {} bytes; it may be "
                               "truncated: download it again",
                               t.end, file_size));
  }
  return {};
}

/// The tensors, sorted by their bytes, must tile the file from `begin` on without gap or overlap.
Result<void> check_tiling(const std::vector<SafetensorsEntry>& tensors, std::int64_t begin,
                          std::int64_t file_size, std::string_view source) {
  std::string_view before = "the header";
  for (const SafetensorsEntry& t : tensors) {
    if (t.begin != begin) {
      return corrupt(
          source, t,
          fmt::format("{} {}, which ends at byte {}",
                      t.begin < begin ? "overlaps" : "leaves a gap after", before, begin));
    }
    begin = t.end;
    before = t.name;
  }
  if (begin != file_size) {
    return corrupt(source, fmt::format("the last tensor ends at byte {}, but the file has {} bytes",
                                       begin, file_size));
  }
  return {};
}

Result<std::string_view> header_of(std::span<const std::byte> file, std::string_view source) {
  const auto size = static_cast<std::int64_t>(file.size());
  if (size < kPrefixBytes) {
    return corrupt(source, fmt::format("{} bytes are too few for a safetensors file", size));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kPrefixBytes; ++i) {
    length |= static_cast<std::uint64_t>(file[i]) << (8 * i);
  }
  if (length > static_cast<std::uint64_t>(kMaxHeaderBytes)) {
    return corrupt(source, fmt::format("header length at byte 0 is {}, more than the limit of {}",
                                       length, kMaxHeaderBytes));
  }
  if (static_cast<std::int64_t>(length) > size - kPrefixBytes) {
    return corrupt(source, fmt::format("header length at byte 0 is {}, but the file has {} bytes; "
                                       "it may be truncated: download it again",
                                       length, size));
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + kPrefixBytes,
                                static_cast<std::size_t>(length));
  if (!header.starts_with('{')) {
    return corrupt(source, fmt::format("the header at byte {} is not a JSON object", kPrefixBytes));
  }
  return header;
}

}  // namespace

Result<SafetensorsIndex> parse_safetensors(std::span<const std::byte> file,
                                           std::string_view source) {
  const Result<std::string_view> header = header_of(file, source);
  if (!header) return header.error();
  Result<SafetensorsIndex> index = parse_safetensors_header(*header, source);
  if (!index) return index;

  const auto size = static_cast<std::int64_t>(file.size());
  const std::int64_t data_begin = kPrefixBytes + static_cast<std::int64_t>(header->size());
  for (SafetensorsEntry& t : index->tensors) {
    // Offsets count from the end of the header; both sums are safe because parsing bounded them.
    t.begin += data_begin;
    t.end += data_begin;
    t.dtype = dtype_named(t.dtype_name);
    if (const Result<void> ok = check_entry(t, size, source); !ok) return ok.error();
  }
  std::ranges::sort(index->tensors, {}, [](const SafetensorsEntry& t) {
    return std::make_tuple(t.begin, t.end, std::string_view(t.name));
  });
  if (const Result<void> ok = check_tiling(index->tensors, data_begin, size, source); !ok) {
    return ok.error();
  }
  return index;
}

}  // namespace spate
