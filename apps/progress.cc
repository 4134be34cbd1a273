#include "apps/progress.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

namespace spate::apps {

std::string human_duration(double seconds) {
  const auto s = static_cast<std::int64_t>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::show(double share, const std::string& text) {
  const Clock::time_point now = Clock::now();
  const auto pause = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (now - last_ < pause) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - begin_).count();
  const std::string left =
      share > 0 ? human_duration(elapsed * (1.0 - share) / share) + " left" : "";
  if (!terminal_) {
    fmt::print(stderr, "{:5.1f} %  {}  {}\n", std::max(0.0, share) * 100.0, text, left);
    return;
  }
  constexpr int kWidth = 24;
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * kWidth);
  fmt::print(stderr, "\r\033[K[{:=<{}}{:<{}}] {}  {}", "", filled, "", kWidth - filled, text, left);
}

void Progress::finish() {
  if (terminal_) fmt::print(stderr, "\r\033[K");
}

}  // namespace spate::apps
