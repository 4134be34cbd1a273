// MappedFile: a file mapped read-only into memory, and the owner of that mapping. Writing through
// it faults. A file that somebody truncates while it is mapped faults too: do not edit models in
// use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "spate/result.h"

namespace spate {

class MappedFile {
 public:
  /// How the bytes will be read, for the kernel's read-ahead.
  enum class Advice : std::uint8_t { kNormal, kSequential, kRandom, kWillNeed, kDontNeed };

  /// An empty file maps to no bytes. Errors carry the path and the system's reason.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }
  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(data_), static_cast<std::size_t>(size_)};
  }

  /// A hint for all of the file, or for the pages that `part` touches; never fails.
  void advise(Advice advice) const { advise(advice, bytes()); }
  void advise(Advice advice, std::span<const std::byte> part) const;

 private:
  std::string path_;
  void* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace spate
