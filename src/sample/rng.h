// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", 2011). There is no state: a number is a function of its key and
// counter, so a request replays alone exactly as it ran in a crowd.
#pragma once

#include <array>
#include <cstdint>

namespace spate {

/// One block of Philox4x32-10.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// Independent numbers for the same token; a new use takes a new number.
enum class RandomStream : std::uint32_t { kDraw = 0, kAccept = 1, kSeed = 2 };

/// What, besides the position, a random number depends on.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t sequence = 0;  // which of the request's n completions
};

/// Uniform in [0, 1), a multiple of 2^-53; `position` counts the sequence's output tokens.
double uniform(const RandomKey& key, std::int64_t position, RandomStream stream);

/// The seed of a request that brings none.
std::uint64_t request_seed(std::uint64_t engine_seed, std::uint64_t request_number);

}  // namespace spate
