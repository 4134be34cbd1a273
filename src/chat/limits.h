// What a template may spend. A chat template comes with the model, from strangers; these bounds
// turn an endless loop or 'x' * 10**9 into an error within a second.
#pragma once

#include <cstdint>

namespace spate {

struct ChatLimits {
  std::int64_t max_steps = 10'000'000;
  std::int64_t max_output_bytes = 16'000'000;
  std::int64_t max_value_bytes = 16'000'000;  // one string or list
  std::int64_t max_heap_bytes = 256'000'000;  // all values alive at once
  std::int32_t max_depth = 1'000;             // expressions, blocks and macro calls in each other
};

namespace chat {

/// Deepest nesting of lists and dicts that is printed, compared or taken from JSON.
inline constexpr int kMaxValueDepth = 200;

}  // namespace chat
}  // namespace spate
