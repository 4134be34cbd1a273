// The frequencies of rotary positions (Su et al., 2021) and their scalings: how fast each pair of a
// head's coordinates turns. Applying them to queries and keys is ops' work.
#pragma once

#include <cstdint>
#include <vector>

#include "weights/hf_config.h"

namespace spate {

struct RopeFrequencies {
  std::vector<float> inverse{};  // [rotary_dim / 2] radians per position
  float attention_scale = 1.0F;  // multiplies cosine and sine (yarn, longrope)

  std::int64_t rotary_dim() const { return 2 * static_cast<std::int64_t>(inverse.size()); }
};

/// `context` is the longest sequence the engine will admit. It is fixed at load because the bits of
/// a sequence must not depend on how far it, or another, has grown; rope.cc says what that means
/// for the two scalings (dynamic, longrope) whose frequencies depend on a length.
/// Throws LoadError when the configuration makes no sense for `head_dim`.
RopeFrequencies rope_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                 std::int64_t context);

}  // namespace spate
