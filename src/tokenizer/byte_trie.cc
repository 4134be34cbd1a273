#include "tokenizer/byte_trie.h"

namespace spate {

ByteTrie::ByteTrie(std::vector<std::pair<std::string, std::int32_t>> keys) {
  std::stable_sort(keys.begin(), keys.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // A node stands for the range of sorted keys that share its path; breadth first, so that
  // children are neighbours.
  struct Range {
    std::size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, keys.size(), 0}};
  nodes_.emplace_back();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto [begin, end, depth] = ranges[i];
    std::size_t at = begin;
    for (; at < end && keys[at].first.size() == depth; ++at) {
      if (depth > 0) nodes_[i].value = keys[at].second;
    }
    nodes_[i].first_child = static_cast<std::int32_t>(nodes_.size());
    while (at < end) {
      const auto byte = static_cast<unsigned char>(keys[at].first[depth]);
      const std::size_t first = at;
      while (at < end && static_cast<unsigned char>(keys[at].first[depth]) == byte) ++at;
      ranges.push_back({first, at, depth + 1});
      nodes_.push_back({.byte = byte});
      ++nodes_[i].children;
    }
  }
  root_.fill(-1);
  for (std::int32_t i = 0; i < nodes_[0].children; ++i) {
    root_[nodes_[static_cast<std::size_t>(i) + 1].byte] = i + 1;
  }
}

}  // namespace spate
