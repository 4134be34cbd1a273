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

  /// Share of the whole in [0, 1] (negative: unknown) and what to say beside it.
  void show(double share, const std::string& text);
  /// Clears the redrawn line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_{};
};

/// "1h02m", "3m20s", "12s".
std::string human_duration(double seconds);

}  // namespace spate::apps
