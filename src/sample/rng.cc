#include "sample/rng.h"

namespace spate {
namespace {

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key = {key[0] + 0x9E3779B9U, key[1] + 0xBB67AE85U};
  }
  return counter;
}

double uniform(const RandomKey& key, std::int64_t position, RandomStream stream) {
  const auto at = static_cast<std::uint64_t>(position);
  const auto block =
      philox4x32({low(at), high(at), key.sequence, static_cast<std::uint32_t>(stream)},
                 {low(key.seed), high(key.seed)});
  const std::uint64_t bits = (std::uint64_t{block[0]} << 21) ^ (block[1] >> 11);  // 32 + 21 bits
  return static_cast<double>(bits) * 0x1p-53;
}

std::uint64_t request_seed(std::uint64_t engine_seed, std::uint64_t request_number) {
  const auto block = philox4x32({low(request_number), high(request_number), 0,
                                 static_cast<std::uint32_t>(RandomStream::kSeed)},
                                {low(engine_seed), high(engine_seed)});
  return (std::uint64_t{block[0]} << 32) | block[1];
}

}  // namespace spate
