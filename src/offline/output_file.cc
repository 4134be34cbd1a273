#include "offline/output_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace spate {
namespace {

Error io_error(const std::string& path, std::string_view what) {
  return {ErrorCode::kIo, fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

/// The size up to and including the last newline.
std::int64_t whole_lines(int fd, std::int64_t size) {
  std::vector<char> block(1 << 16);
  while (size > 0) {
    const std::int64_t n = std::min(size, static_cast<std::int64_t>(block.size()));
    if (pread(fd, block.data(), static_cast<std::size_t>(n), size - n) != n) return size;
    for (std::int64_t i = n; i-- > 0;) {
      if (block[static_cast<std::size_t>(i)] == '\n') return size - n + i + 1;
    }
    size -= n;
  }
  return 0;
}

}  // namespace

/// The lock goes with the descriptor, so that a killed process leaves none. File systems without
/// locks do without.
Result<OutputFile> OutputFile::open_locked(const std::string& path) {
  if (path == "-") return OutputFile("standard output", STDOUT_FILENO, -1);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return io_error(path, "cannot open for writing");
  OutputFile file(path, fd, -1);
  struct stat info {};
  if (fstat(fd, &info) != 0) return io_error(path, "cannot read its size");
  if (!S_ISREG(info.st_mode)) return file;  // a pipe or a device: nothing to resume
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return Error{ErrorCode::kIo,
                 fmt::format("{}: another process is writing it; wait for its end, or name another "
                             "output",
                             path)};
  }
  if (fstat(fd, &info) != 0) return io_error(path, "cannot read its size");
  file.size_ = info.st_size;
  return file;
}

/// What is cut off is gone; writing goes on from there.
Result<void> OutputFile::cut(std::int64_t size) {
  if (size != size_ && ftruncate(fd_, size) != 0) return io_error(path_, "cannot be shortened");
  if (lseek(fd_, size, SEEK_SET) < 0) return io_error(path_, "cannot go to its end");
  size_ = size;
  return {};
}

Result<OutputFile> OutputFile::open(const std::string& path) {
  Result<OutputFile> file = open_locked(path);
  if (!file || file->size_ < 0) return file;
  const Result<void> done = file->cut(whole_lines(file->fd_, file->size_));
  if (!done) return done.error();
  return file;
}

Result<OutputFile> OutputFile::replace(const std::string& path) {
  Result<OutputFile> file = open_locked(path);
  if (!file || file->size_ < 0) return file;
  const Result<void> done = file->cut(0);
  if (!done) return done.error();
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

OutputFile::~OutputFile() {
  if (fd_ > STDERR_FILENO) close(fd_);
}

Result<void> OutputFile::for_each_line(const std::function<void(std::string_view)>& line) const {
  if (size_ <= 0) return {};
  std::ifstream in(path_, std::ios::binary);
  std::string text;
  while (std::getline(in, text)) line(text);
  if (in.bad()) return io_error(path_, "cannot read the lines of the earlier run");
  return {};
}

Result<void> OutputFile::append(std::string_view line) {
  std::string text(line);
  text += '\n';
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(fd_, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      Error error = io_error(path_, "cannot write");
      error.message += "; finished lines are kept: make room and start the same command again";
      if (size_ >= 0 && ftruncate(fd_, size_) == 0) lseek(fd_, size_, SEEK_SET);
      return error;
    }
    written += static_cast<std::size_t>(n);
  }
  if (size_ >= 0) size_ += static_cast<std::int64_t>(text.size());
  return {};
}

}  // namespace spate
