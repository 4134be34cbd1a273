// The output of a job, a line per finished request, that survives what may happen to a long run: a
// killed process leaves whole lines and at most one partial one, which the next run removes; a full
// disk leaves whole lines only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "spate/result.h"

namespace spate {

/// Move-only; one writer: while it lives no other process can open the same file as an OutputFile.
class OutputFile {
 public:
  /// Opens for appending and cuts off a partial last line. "-" is standard output.
  static Result<OutputFile> open(const std::string& path);
  /// The same, without what an earlier run may have left.
  static Result<OutputFile> replace(const std::string& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  /// Calls `line` with each line that an earlier run finished.
  Result<void> for_each_line(const std::function<void(std::string_view)>& line) const;

  /// Appends `line` and a newline. After an error the file ends with the last whole line.
  Result<void> append(std::string_view line);

 private:
  static Result<OutputFile> open_locked(const std::string& path);
  Result<void> cut(std::int64_t size);
  OutputFile(std::string path, int fd, std::int64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}

  std::string path_;
  int fd_ = -1;
  std::int64_t size_ = 0;  // bytes of whole lines
};

}  // namespace spate
