// Prefill over the cache's blocks through page tables.
#include "tests/cuda/prefill_check.h"

namespace spate::cuda_test {
namespace {

using cuda::KvLayout;
using cuda::Mask;
template <int kDim, Mask kMask = Mask::kCausal>
using Paged = cuda::PrefillVariant<__nv_bfloat16, kDim, kMask, KvLayout::kPages>;

TEST(PrefillPages, MatchesTheReferenceForEveryPageSize) {
  for (const int page_tokens : {8, 16, 64, 128, 256}) {
    SCOPED_TRACE(page_tokens);
    check_prefill<Paged<128>>({odd_lengths()}, {}, {.page_tokens = page_tokens});
  }
}

TEST(PrefillPages, MatchesTheReferenceWhereBlocksStraddlePages) {
  for (const int page_tokens : {16, 64, 128}) {
    SCOPED_TRACE(page_tokens);
    check_prefill<Paged<256>>({odd_lengths(), 2, 1, 256}, {}, {.page_tokens = page_tokens});
  }
}

TEST(PrefillPages, MatchesTheReferenceWithAWindowAtHeadDim64) {
  check_prefill<Paged<64, Mask::kWindow>>({odd_lengths(), 6, 2, 64}, {.left = 100},
                                          {.page_tokens = 64});
}

TEST(PrefillPages, MatchesTheReferenceWithPaddedRows) {
  check_prefill<Paged<80, Mask::kFull>>({odd_lengths(), 4, 2, 80}, {.right = -1},
                                        {.page_tokens = 32});
}

}  // namespace
}  // namespace spate::cuda_test
