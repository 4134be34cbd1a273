// Lines that finish in any order and are written in the order they were begun, lane by lane. Lanes
// do not wait for each other; an empty one takes no memory.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/check.h"

namespace spate {

class Lanes {
 public:
  /// Where a line stands until it is finished.
  struct Place {
    std::string lane{};
    std::int64_t number = 0;
  };

  Place begin(std::string lane) {
    Lane& l = lanes_[lane];
    l.lines.emplace_back();
    return {std::move(lane), l.first + static_cast<std::int64_t>(l.lines.size()) - 1};
  }

  /// Calls `write` for every line whose turn has come.
  template <class F>
  void finish(const Place& place, std::string line, F&& write) {
    const auto found = lanes_.find(place.lane);
    SPATE_CHECK(found != lanes_.end());
    Lane& l = found->second;
    l.lines[static_cast<std::size_t>(place.number - l.first)] = std::move(line);
    for (; !l.lines.empty() && l.lines.front(); ++l.first) {
      write(*l.lines.front());
      l.lines.pop_front();
    }
    if (l.lines.empty()) lanes_.erase(found);
  }

 private:
  struct Lane {
    std::int64_t first = 0;  // number of lines.front()
    std::deque<std::optional<std::string>> lines{};
  };
  std::unordered_map<std::string, Lane> lanes_;
};

}  // namespace spate
