#include "apps/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace spate::apps {
namespace {

int columns_of_terminal() {
  constexpr int kUsual = 80;
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

}  // namespace

std::string human_duration(double seconds) {
  const auto s = static_cast<std::int64_t>(std::lround(std::max(0.0, seconds)));
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

std::string progress_line(double share, const std::string& text, const std::string& left,
                          int columns) {
  constexpr int kWidest = 24;
  constexpr int kNarrowest = 5;
  std::string line = left.empty() ? text : text + ", " + left;
  const int room = columns - static_cast<int>(line.size()) - 3;  // brackets and a space
  if (share >= 0 && room >= kNarrowest) {
    const int width = std::min(room, kWidest);
    const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * width);
    line = fmt::format("[{:=<{}}{:<{}}] {}", "", filled, "", width - filled, line);
  }
  return line.substr(0, static_cast<std::size_t>(std::max(columns, 0)));
}

void Progress::show(const State& state, const std::string& text) {
  const Clock::time_point now = Clock::now();
  const auto pause = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (now - last_ < pause) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - begin_).count();
  const double here = state.done - state.before;  // by this run, in this time
  std::string left;
  if (state.done >= 0 && here > 0) {
    left = human_duration(elapsed * (1.0 - state.done) / here) + " left";
  }
  if (!terminal_) {
    const std::string share =
        state.done < 0 ? std::string() : fmt::format("{:.1f} %, ", state.done * 100.0);
    fmt::print(stderr, "{}{}{}{}\n", share, text, left.empty() ? "" : ", ", left);
    return;
  }
  // The last column stays free: terminals differ in what they do when it is written to.
  fmt::print(stderr, "\r\033[K{}",
             progress_line(state.done, text, left, columns_of_terminal() - 1));
  std::fflush(stderr);
}

void Progress::finish() {
  if (terminal_) fmt::print(stderr, "\r\033[K");
}

}  // namespace spate::apps
