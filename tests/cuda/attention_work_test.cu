// The engine's entry to attention: mixed batches, every head dim, masks, caches and fallbacks.
#include "tests/cuda/attention_work_check.h"
#include "tests/cuda/nan_check.h"

namespace spate::cuda_test {
namespace {

using ops::cuda::AttentionShape;

// Chunks, single queries, speculative ones, a prompt's short tail.
std::vector<Lengths> mixed_lengths() {
  return {{1, 1},    {129, 129}, {64, 300}, {17, 17},   {1, 700}, {16, 129},
          {5, 1025}, {1, 257},   {2, 3},    {200, 640}, {1, 128}, {1, 2049}};
}

AttentionShape shape(std::int64_t q_heads, std::int64_t kv_heads, std::int64_t head_dim) {
  AttentionShape s;
  s.q_heads = q_heads;
  s.kv_heads = kv_heads;
  s.head_dim = head_dim;
  return s;
}
AttentionShape windowed(AttentionShape s, std::int64_t window) {
  s.window = window;
  return s;
}
AttentionShape capped(AttentionShape s, float cap) {
  s.soft_cap = cap;
  return s;
}
AttentionShape fixed(AttentionShape s) {
  s.deterministic = true;
  return s;
}

TEST(AttentionWork, MatchesTheReferenceForEveryHeadDim) {
  for (const std::int64_t dim : {64, 80, 96, 112, 128, 192, 256}) {
    SCOPED_TRACE(dim);
    check_work_narrow({mixed_lengths(), shape(4, 2, dim)});
  }
}

TEST(AttentionWork, MatchesTheReferenceForEveryGroupSize) {
  for (const std::int64_t group : {1, 3, 6, 7, 8, 9, 12, 16, 20}) {
    SCOPED_TRACE(group);
    check_work_narrow({mixed_lengths(), shape(2 * group, 2, 128)});
  }
}

TEST(AttentionWork, MatchesTheReferenceWithWindows) {
  for (const std::int64_t dim : {64, 80, 96, 112, 128, 192, 256}) {
    SCOPED_TRACE(dim);
    check_work_narrow({mixed_lengths(), windowed(shape(6, 2, dim), 150)});
  }
}

TEST(AttentionWork, MatchesTheReferenceWithSoftCaps) {
  for (const std::int64_t dim : {64, 128, 256}) {
    SCOPED_TRACE(dim);
    check_work_narrow({mixed_lengths(), capped(shape(4, 2, dim), 30), false, 8});
    check_work_narrow({mixed_lengths(), windowed(capped(shape(4, 2, dim), 30), 99), false, 8});
  }
  for (const float cap : {1.f, 5.f, 50.f}) {
    SCOPED_TRACE(cap);
    check_work_bf16({mixed_lengths(), capped(shape(4, 2, 128), cap), false, 8});
  }
}

TEST(AttentionWork, MatchesTheReferenceWithAlibi) {
  for (const std::int64_t dim : {64, 96, 128}) {
    SCOPED_TRACE(dim);
    check_work_narrow({mixed_lengths(), shape(8, 2, dim), true});
  }
}

TEST(AttentionWork, MatchesTheReferenceInF32) {
  for (const std::int64_t dim : {64, 80, 128, 256}) {
    SCOPED_TRACE(dim);
    check_work_f32({mixed_lengths(), shape(4, 2, dim)});
  }
  check_work_f32({mixed_lengths(), windowed(shape(3, 1, 64), 40)});
  check_work_f32({mixed_lengths(), capped(shape(4, 2, 64), 20), true, 4});
}

TEST(AttentionWork, MatchesTheReferenceOverE4M3) {
  for (const std::int64_t dim : {64, 80, 128, 256}) {
    SCOPED_TRACE(dim);
    check_work_fp8({mixed_lengths(), shape(4, 2, dim)});
  }
  check_work_fp8({mixed_lengths(), windowed(shape(8, 2, 128), 200)});
}

TEST(AttentionWork, MatchesTheReferenceOverE4M3WithScales) {
  auto check = [](const AttentionShape& s, bool alibi = false, double query_scale = 1) {
    check_work_fp8({mixed_lengths(), s, alibi, query_scale, true});
  };
  for (const std::int64_t dim : {64, 80, 128, 256}) {  // 80: the plain kernel
    SCOPED_TRACE(dim);
    check(shape(4, 2, dim));
  }
  check(windowed(shape(8, 2, 128), 200));
  check(shape(32, 2, 128));  // prefill takes all of them
  check(fixed(shape(8, 2, 128)));
  check(capped(shape(4, 2, 64), 20), false, 4);  // the plain kernel, too
  check(windowed(shape(8, 4, 64), 77), true);
}

// The kernels compute in f16, whose largest number is 65504: rows must be scaled, each on its own.
TEST(AttentionWork, TakesQueriesOfAnySizeOverE4M3) {
  for (const std::int64_t dim : {64, 128, 256}) {
    SCOPED_TRACE(dim);
    check_work_fp8({mixed_lengths(), shape(4, 2, dim)}, [dim](Problem& problem) {
      for (float& x : problem.k) x *= 0x1p-6f;
      for (std::size_t i = 0; i < problem.q.size(); ++i) {
        const std::size_t row = i / static_cast<std::size_t>(dim);
        problem.q[i] *= row % 3 == 0 ? 0x1p18f : row % 3 == 1 ? 0x1p-30f : 16.f;
      }
    });
  }
}

TEST(AttentionWork, MatchesTheReferenceWithFixedSplits) {
  check_work_narrow({mixed_lengths(), fixed(shape(8, 2, 128))});
  check_work_narrow({{{1, 5000}, {1, 70000}, {3, 1030}}, fixed(shape(4, 1, 64))});
}

TEST(AttentionWork, MatchesTheReferenceOverSegmentsOfOddLengths) {
  const std::vector<Lengths> lengths = {{1, 1025},  {1, 2048}, {1, 2049}, {1, 4001},
                                        {130, 999}, {3, 1537}, {1, 127},  {700, 3001}};
  for (const int segments : {1, 2, 4, 16}) {
    SCOPED_TRACE(segments);
    check_work_bf16({lengths, shape(8, 2, 128)}, segments);
  }
}

TEST(AttentionWork, TakesABatchOfDecodesAlone) {
  std::vector<Lengths> lengths;
  for (int i = 0; i < 70; ++i) lengths.push_back({1, 1 + i * 37});
  check_work_bf16({lengths, shape(8, 2, 128)});
  check_work_fp8({lengths, shape(8, 2, 128)});
}

TEST(AttentionWork, TakesRequestsOfVeryDifferentLengths) {
  const std::vector<Lengths> lengths = {{1, 1},     {1, 8190}, {70, 8190}, {17, 17}, {2, 2},
                                        {16, 8190}, {1, 1},    {1, 1},     {18, 19}};
  for (const bool deterministic : {false, true}) {
    AttentionShape s = shape(4, 2, 64);
    s.deterministic = deterministic;
    check_work_bf16({lengths, s});
    check_work_fp8({lengths, s});
  }
}

// Of the plain kernel; the last request has a tile of one key.
TEST(AttentionWork, KeepsNanInItsRequest) {
  WorkCheck check{{{1, 70}, {3, 65}, {40, 97}, {1, 33}}, shape(4, 2, 64)};
  check.shape.cache = DType::kF32;
  const Problem problem = work_problem<float>(check);
  for (const std::size_t request : {1u, 2u, 3u}) {
    SCOPED_TRACE(request);
    expect_nan_contained(
        problem, request, work_tolerance<float>(DType::kF32), [&](const Problem& p) {
          PagedCache cache =
              make_pages<float>(p, cuda::kStepBlockTokens, [](float x, int, int) { return x; });
          WorkRun<float, float> run(p, check.shape, std::move(cache), false);
          return AttentionResult{run.run(), {}};
        });
  }
}

}  // namespace
}  // namespace spate::cuda_test
