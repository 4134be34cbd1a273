// Attention over INT8 caches.
#include "tests/cuda/attention_work_check.h"
#include "tests/cuda/int8_cache.h"

namespace spate::cuda_test {
namespace {

template <int kDim>
void check_int8(WorkCheck check) {
  check.shape.head_dim = kDim;
  check.shape.cache = DType::kI8;
  check_work<__nv_bfloat16, std::int8_t>(check, int8_cache<kDim>);
}

ops::cuda::AttentionShape heads(std::int64_t q_heads, std::int64_t kv_heads) {
  ops::cuda::AttentionShape s;
  s.q_heads = q_heads;
  s.kv_heads = kv_heads;
  return s;
}
std::vector<Lengths> mixed_lengths() {
  return {{1, 1},    {129, 129}, {64, 300},  {17, 17}, {1, 700}, {16, 129},
          {5, 1025}, {1, 257},   {200, 640}, {1, 128}, {1, 2049}};
}

TEST(AttentionInt8, MatchesTheReferenceForEveryHeadDim) {
  check_int8<64>({mixed_lengths(), heads(8, 2)});
  check_int8<128>({mixed_lengths(), heads(4, 2)});
  check_int8<256>({mixed_lengths(), heads(4, 2)});
}

TEST(AttentionInt8, MatchesTheReferenceWithAWindow) {
  ops::cuda::AttentionShape shape = heads(6, 2);
  shape.window = 150;
  check_int8<128>({mixed_lengths(), shape});
}

TEST(AttentionInt8, MatchesTheReferenceInThePlainKernel) {
  ops::cuda::AttentionShape shape = heads(4, 2);
  shape.soft_cap = 20.f;
  check_int8<64>({mixed_lengths(), shape, true, 4});
}

}  // namespace
}  // namespace spate::cuda_test
