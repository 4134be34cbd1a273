#include "core/json.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

namespace spate {
namespace {

template <class J>
Result<J> parse(std::string_view text, std::string_view source) {
  try {
    return J::parse(text);
  } catch (const typename J::parse_error& e) {
    return Error{ErrorCode::kCorrupt,
                 fmt::format("{}: not valid JSON at byte {}: {}", source, e.byte, e.what())};
  } catch (const typename J::out_of_range& e) {  // a number beyond double, as 1e999
    return Error{ErrorCode::kCorrupt, fmt::format("{}: {}", source, e.what())};
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view source) {
  return parse<Json>(text, source);
}

Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view source) {
  return parse<OrderedJson>(text, source);
}

Result<Json> read_json(const std::string& path) {
  Result<std::string> text = read_file(path);
  if (!text) return text.error();
  return parse_json(*text, path);
}

Result<std::string> read_file(const std::string& path, std::int64_t max_bytes) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) {
    return Error{ErrorCode::kIo, fmt::format("{}: is a folder, not a file", path)};
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    const auto kind = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error{kind, fmt::format("{}: {}", path, std::strerror(errno))};
  }
  std::string text;
  std::string block(1 << 16, '\0');
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    text.append(block, 0, static_cast<std::size_t>(in.gcount()));
    if (static_cast<std::int64_t>(text.size()) > max_bytes) {
      return Error{ErrorCode::kCorrupt,
                   fmt::format("{}: larger than the limit of {} bytes", path, max_bytes)};
    }
  }
  return text;
}

}  // namespace spate
