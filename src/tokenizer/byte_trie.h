// A static trie over bytes: all keys that are a prefix of a text, shortest first. Children of a
// node are neighbours sorted by byte, 12 bytes a node.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spate {

class ByteTrie {
 public:
  /// Where two keys are equal the last one counts. Empty keys are dropped.
  explicit ByteTrie(std::vector<std::pair<std::string, std::int32_t>> keys = {});

  /// Calls `found(length, value)` for every key that is a prefix of text[at..].
  template <class F>
  void match(std::string_view text, std::size_t at, F&& found) const {
    std::int32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node < 0) return;
      const std::int32_t value = nodes_[static_cast<std::size_t>(node)].value;
      if (value >= 0) found(i + 1 - at, value);
    }
  }

  struct Match {
    std::size_t length = 0;  // 0: no key is a prefix
    std::int32_t value = -1;
  };
  Match longest(std::string_view text, std::size_t at) const {
    Match best;
    match(text, at, [&](std::size_t length, std::int32_t value) { best = {length, value}; });
    return best;
  }
  /// Could a key begin with this byte?
  bool starts_with(char byte) const { return root_[static_cast<unsigned char>(byte)] >= 0; }
  bool empty() const { return nodes_.size() <= 1; }

 private:
  struct Node {
    std::int32_t value = -1;
    std::int32_t first_child = 0;
    std::uint16_t children = 0;
    std::uint8_t byte = 0;  // on the edge to this node
  };

  std::int32_t child(std::int32_t node, unsigned char byte) const {
    if (node == 0) return root_[byte];
    const Node& parent = nodes_[static_cast<std::size_t>(node)];
    const Node* begin = nodes_.data() + parent.first_child;
    const Node* end = begin + parent.children;
    const Node* it = parent.children < 8
                         ? std::find_if(begin, end, [&](const Node& n) { return n.byte >= byte; })
                         : std::lower_bound(begin, end, byte, [](const Node& n, unsigned char b) {
                             return n.byte < b;
                           });
    if (it == end || it->byte != byte) return -1;
    return static_cast<std::int32_t>(it - nodes_.data());
  }

  std::vector<Node> nodes_{};
  std::array<std::int32_t, 256> root_{};
};

}  // namespace spate
