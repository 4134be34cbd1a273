#include "apps/input.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include <fmt/format.h>

namespace spate::apps {
namespace fs = std::filesystem;

Result<Input> Input::open(const std::string& path, const std::string& output) {
  Input input;
  if (path == "-") return input;
  std::error_code code;
  if (fs::is_directory(path, code)) {
    return Error{ErrorCode::kIo, fmt::format("{}: is a folder, not a file of lines", path)};
  }
  input.file_.open(path, std::ios::binary);
  if (!input.file_) {
    return Error{ErrorCode::kIo,
                 fmt::format("{}: cannot open for reading: {}", path, std::strerror(errno))};
  }
  if (output != "-" && fs::is_regular_file(path, code) && fs::equivalent(path, output, code)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}: is both input and output; name another output", path)};
  }
  const auto size = fs::file_size(path, code);
  input.size_ = code ? 0.0 : static_cast<double>(size);
  return input;
}

std::istream& Input::stream() { return file_.is_open() ? file_ : std::cin; }

double Input::share() {
  if (size_ <= 0.0) return -1.0;
  const auto at = file_.tellg();
  return at < 0 ? 1.0 : static_cast<double>(at) / size_;
}

}  // namespace spate::apps
