// Progress of a long job on stderr: one line that is redrawn on a terminal, a plain line every ten
// seconds elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace spate::apps {

class Progress {
 public:
  Progress();

  /// What of the whole is done, as far as the job knows.
  struct State {
    double before = 0.0;  // share of the whole that was done when this run began, in [0, 1]
    double done = -1.0;   // share that is done now; negative: unknown
  };
  /// Redraws, not too often. `text` is cut where the terminal is narrow.
  void show(const State& state, const std::string& text);
  /// Clears the redrawn line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_ = begin_;
};

/// What fits into `columns`: the bar shrinks first, then goes, then the text is cut.
std::string progress_line(double share, const std::string& text, const std::string& left,
                          int columns);

/// "1h02m", "3m20s", "12s".
std::string human_duration(double seconds);

}  // namespace spate::apps
