// Argmax of rows: exact, ties to the lowest id, bad rows flagged without harm to others.
#include <cmath>
#include <limits>

#include "spate/kernels/cuda/sample_greedy.cuh"
#include "tests/cuda/row_data.h"

namespace spate::cuda_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Outcome {
  std::vector<std::int32_t> tokens, errors, sampled;
};

// Row r goes to slot slots[r].
Outcome run_greedy(const std::vector<float>& logits, int vocab, int stride,
                   const std::vector<std::int32_t>& slots) {
  const auto rows = slots.size();
  const DeviceArray<float> device(logits);
  const DeviceArray<std::int32_t> device_slots(slots), tokens(rows), errors(rows),
      sampled(2 * rows);
  cuda::GreedyParams p;
  p.logits = device.data();
  p.stride = stride;
  p.vocab = vocab;
  p.slots = device_slots.data();
  p.sampled = sampled.data();
  p.tokens = tokens.data();
  p.errors = errors.data();
  p.rows = static_cast<std::int64_t>(rows);
  p.dependent_launch = true;
  require(cuda::launch_greedy(p, nullptr));
  require(cudaDeviceSynchronize());
  return {tokens.get(), errors.get(), sampled.get()};
}

std::vector<std::int32_t> reversed_slots(int rows) {
  std::vector<std::int32_t> slots;
  for (int i = 0; i < rows; ++i) slots.push_back(2 * rows - 1 - i);
  return slots;
}

struct Shape {
  int rows, vocab;
};
class GreedyTest : public testing::TestWithParam<Shape> {};

TEST_P(GreedyTest, FindsTheLowestIdOfTheLargestLogit) {
  const auto [rows, vocab] = GetParam();
  std::vector<float> logits = random_values(std::int64_t{rows} * vocab, 1);
  // Coarse values: many ties.
  for (float& x : logits) x = std::round(x * 4) / 4;
  const Outcome run = run_greedy(logits, vocab, vocab, reversed_slots(rows));
  for (int r = 0; r < rows; ++r) {
    const auto first = logits.begin() + std::int64_t{r} * vocab;
    const auto want = static_cast<std::int32_t>(std::max_element(first, first + vocab) - first);
    ASSERT_EQ(run.tokens[static_cast<std::size_t>(r)], want) << r;
    ASSERT_EQ(run.errors[static_cast<std::size_t>(r)], cuda::kSampled);
    ASSERT_EQ(run.sampled[static_cast<std::size_t>(2 * rows - 1 - r)], want);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GreedyTest,
                         testing::Values(Shape{1, 128256}, Shape{3, 32000}, Shape{40, 2049},
                                         Shape{70, 8000}, Shape{150, 1003}, Shape{1, 1},
                                         Shape{2, 262144}));

TEST(Greedy, FlagsBadRowsAndLeavesOthersAlone) {
  constexpr int kRows = 7, kVocab = 5000;
  std::vector<float> logits = random_values(kRows * kVocab, 1);
  const auto row = [&](int r) { return logits.data() + r * kVocab; };
  row(1)[4999] = std::nanf("");
  row(2)[0] = kInf;
  std::fill(row(3), row(3) + kVocab, -kInf);
  std::fill(row(5), row(5) + kVocab, -kInf);
  row(5)[4321] = -3e38f;
  std::fill(row(6), row(6) + kVocab, -0.f);
  row(6)[77] = 0.f;  // equal to -0
  const Outcome run = run_greedy(logits, kVocab, kVocab, {0, 1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run.errors, (std::vector<std::int32_t>{0, cuda::kNotFinite, cuda::kNotFinite,
                                                   cuda::kNoTokenLeft, 0, 0, 0}));
  EXPECT_EQ(run.tokens[1], 0);
  EXPECT_EQ(run.tokens[3], 0);
  EXPECT_EQ(run.tokens[5], 4321);
  EXPECT_EQ(run.tokens[6], 0);
  EXPECT_EQ(run.tokens[4], std::max_element(row(4), row(5)) - row(4));
}

TEST(Greedy, WritesNothingForPadding) {
  const Outcome run = run_greedy(random_values(300, 1), 100, 100, {1, -1, 0});
  EXPECT_EQ(run.tokens[1], -1);  // poison
  EXPECT_EQ(run.errors[1], -1);
  EXPECT_EQ(run.sampled[2], -1);
}

TEST(Greedy, NoRowsAreNoWork) {
  cuda::GreedyParams p;
  p.vocab = 8;
  EXPECT_EQ(cuda::launch_greedy(p, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace spate::cuda_test
