#include "weights/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace spate {
namespace {

Error refused(const std::string& path, std::string_view what) {
  const int reason = errno;
  const auto code = reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return {code, fmt::format("{}: {}: {}", path, what, std::strerror(reason))};
}

/// Closes a descriptor when it goes; a mapping does not need it any more.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

int native(MappedFile::Advice advice) {
  switch (advice) {
    case MappedFile::Advice::kSequential:
      return MADV_SEQUENTIAL;
    case MappedFile::Advice::kRandom:
      return MADV_RANDOM;
    case MappedFile::Advice::kWillNeed:
      return MADV_WILLNEED;
    case MappedFile::Advice::kDontNeed:
      return MADV_DONTNEED;
    default:
      return MADV_NORMAL;
  }
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: a named pipe must be refused, not waited for.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return refused(path, "cannot open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return refused(path, "cannot stat");
  if (!S_ISREG(status.st_mode)) {
    return Error{ErrorCode::kIo, fmt::format("{}: not a regular file", path)};
  }
  MappedFile mapped;
  mapped.path_ = path;
  if (status.st_size == 0) return mapped;
  const auto length = static_cast<std::size_t>(status.st_size);
  void* data = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) return refused(path, fmt::format("cannot map {} bytes", length));
  mapped.data_ = data;
  mapped.size_ = status.st_size;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, static_cast<std::size_t>(size_));
}

void MappedFile::advise(Advice advice, std::span<const std::byte> part) const {
  if (part.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto before = reinterpret_cast<std::uintptr_t>(part.data()) % page;
  // madvise takes a pointer to what it will not write.
  auto* first = const_cast<std::byte*>(part.data()) - before;
  ::madvise(first, part.size() + before, native(advice));
}

}  // namespace spate
