// Text on its way to the model, cut into segments. The segments are views of the input or of the
// storage kept here; used by one encode call only.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spate {

struct Segment {
  std::string_view text{};
  bool at_start = false;  // it begins where the whole input begins
};

class Segments {
 public:
  explicit Segments(std::string_view text, bool at_start) : items_{{text, at_start}} {}

  const std::vector<Segment>& items() const { return items_; }

  /// Calls `cut(segment, out)` for each segment; what it appends to `out` takes its place. Empty
  /// segments vanish.
  template <class F>
  void split(F&& cut) {
    next_.clear();
    for (const Segment& segment : items_) {
      if (!segment.text.empty()) cut(segment, next_);
    }
    std::swap(items_, next_);
  }

  /// Calls `write(segment, buffer)` for each segment; what it appends to `buffer` is its new text.
  template <class F>
  void rewrite(F&& write) {
    std::string& buffer = storage_.emplace_back();
    std::size_t total = 0;
    for (const Segment& segment : items_) total += segment.text.size();
    buffer.reserve(total + total / 4 + 16);
    std::vector<std::size_t> ends;
    ends.reserve(items_.size());
    for (const Segment& segment : items_) {
      if (!segment.text.empty()) write(segment, buffer);
      ends.push_back(buffer.size());
    }
    std::size_t begin = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      items_[i].text = std::string_view(buffer.data() + begin, ends[i] - begin);
      begin = ends[i];
    }
  }

 private:
  std::vector<Segment> items_;
  std::vector<Segment> next_{};
  std::deque<std::string> storage_{};  // a deque: the buffers must not move
};

}  // namespace spate
