// Where a step's time goes: operators report what they cost to the Profile of their device while
// one is set (bench roofline); otherwise each pays one branch. Borrowed by the device.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace spate {

/// The multiplications that an operator's time should be spent in.
enum class Arithmetic : std::uint8_t { kNone, kF32, kBF16, kInt8, kFp8 };
std::string_view name_of(Arithmetic a);

/// What one call of an operator has to do at least.
struct OpCost {
  std::string_view name{};    // a literal
  std::int64_t k = 0, n = 0;  // of its matrix; 0 where it has none
  /// Calls of about this many rows are summed apart; 0: all together.
  std::int64_t rows = 0;
  Arithmetic arithmetic = Arithmetic::kNone;
  double operations = 0.0;  // a product and an addition are two
  double n_bytes = 0.0;     // of weights or cache, read once
};

/// Sums over calls of the same name, matrix and rows, in order of first appearance. Thread rule:
/// that of the device.
class Profile {
 public:
  struct Line {
    OpCost cost{};  // of all calls
    std::int64_t calls = 0;
    double seconds = 0.0;
  };

  void add(const OpCost& cost, double seconds);
  /// Time of a device between its operators; the CPU's is what is left of a step.
  void add_between(double seconds) { between_ += seconds; }
  const std::vector<Line>& lines() const { return lines_; }
  double seconds() const;
  double between_seconds() const { return between_; }
  void clear() {
    lines_.clear();
    between_ = 0.0;
  }

 private:
  std::vector<Line> lines_;
  double between_ = 0.0;
};

/// Times a scope on the CPU; a GPU's operators take GpuOpTimer (device/gpu_timeline.h). `cost()` is
/// called only when there is a profile.
class OpTimer {
 public:
  template <class Cost>
  OpTimer(Profile* profile, const Cost& cost) : profile_(profile) {
    if (profile_ == nullptr) return;
    cost_ = cost();
    begin_ = Clock::now();
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;
  ~OpTimer() {
    if (profile_ == nullptr) return;
    profile_->add(cost_, std::chrono::duration<double>(Clock::now() - begin_).count());
  }

 private:
  using Clock = std::chrono::steady_clock;
  Profile* profile_;
  OpCost cost_;
  Clock::time_point begin_;
};

}  // namespace spate
