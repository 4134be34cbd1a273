// Logits that Hugging Face transformers computed in float32 (tools/make_model_goldens.py), and how
// far an engine's are from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "tests/engine/engine_fixture.h"
#include "weights/checkpoint.h"

namespace spate::test {

using LogProbs = std::vector<std::vector<double>>;

/// The most likely continuation. margins: how far the second best token is below each.
struct GreedyGolden {
  std::vector<TokenId> ids{};
  std::vector<double> logprobs{}, margins{};
};

struct Golden {
  std::vector<TokenId> ids{};
  std::int64_t context = 0;
  std::int64_t first_row = 0, row_step = 1;  // logprobs: rows first_row, first_row + row_step ...
  GreedyGolden greedy{};
  LogProbs logprobs{};
  std::map<std::string, LogProbs> rounded{};  // by what was rounded, for some
  double max_logit = 0.0;
};

inline std::vector<double> log_softmax(const float* logits, std::int64_t n) {
  const double top = *std::max_element(logits, logits + n);
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(logits[i]) - top);
  std::vector<double> out;
  for (std::int64_t i = 0; i < n; ++i) {
    out.push_back(static_cast<double>(logits[i]) - top - std::log(sum));
  }
  return out;
}

inline LogProbs log_softmax_of_rows(const Tensor& logits) {
  LogProbs rows;
  for (std::int64_t row = 0; row < logits.dim(0); ++row) {
    rows.push_back(log_softmax(logits.row<float>(row), logits.dim(1)));
  }
  return rows;
}

inline double largest_magnitude(const Tensor& logits) {
  double largest = 0.0;
  for (std::int64_t i = 0; i < logits.count(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(logits.as<float>()[i])));
  }
  return largest;
}

inline Golden golden_of(const Json& s) {
  const Json& greedy = s.at("greedy");
  return {.ids = s.at("ids").get<std::vector<TokenId>>(),
          .context = s.at("context").get<std::int64_t>(),
          .first_row = s.at("first_row").get<std::int64_t>(),
          .row_step = s.at("row_step").get<std::int64_t>(),
          .greedy = {.ids = greedy.at("ids").get<std::vector<TokenId>>(),
                     .logprobs = greedy.at("logprobs").get<std::vector<double>>(),
                     .margins = greedy.at("margins").get<std::vector<double>>()}};
}

inline std::vector<Golden> load_goldens(const std::string& folder) {
  const Result<Json> json = read_json(folder + "/golden.json");
  Result<Checkpoint> tensors = Checkpoint::open(folder + "/golden.safetensors");
  EXPECT_TRUE(json && tensors);
  std::vector<Golden> goldens;
  for (const Json& s : json->at("sequences")) goldens.push_back(golden_of(s));
  for (const TensorInfo* tensor : tensors->tensors()) {
    const std::size_t dot = tensor->name.rfind('.');
    Golden& g = goldens.at(std::stoul(tensor->name.substr(dot + 1)));
    const std::string what = tensor->name.substr(0, dot);
    (what == "logits" ? g.logprobs : g.rounded[what]) = log_softmax_of_rows(tensor->view);
    if (what == "logits") g.max_logit = largest_magnitude(tensor->view);
  }
  return goldens;
}

/// The rows of all positions that a golden has, but the last where the context has no room for it.
inline LogProbs golden_rows(const Golden& g, const std::vector<std::vector<float>>& rows) {
  LogProbs kept;
  for (std::size_t r = 0; r < g.logprobs.size(); ++r) {
    const std::size_t row =
        static_cast<std::size_t>(g.first_row) + r * static_cast<std::size_t>(g.row_step);
    if (row == rows.size() && row + 1 == g.ids.size()) break;
    kept.emplace_back(rows.at(row).begin(), rows.at(row).end());
  }
  return kept;
}

struct Distance {
  double largest = 0.0, mean = 0.0;
};

/// Over the rows of `found`, which may be fewer.
inline Distance distance(const LogProbs& found, const LogProbs& expected) {
  Distance d;
  std::size_t n = 0;
  for (std::size_t row = 0; row < found.size(); ++row) {
    for (std::size_t i = 0; i < found[row].size(); ++i, ++n) {
      const double apart = std::abs(found[row][i] - expected.at(row).at(i));
      d.largest = std::max(d.largest, apart);
      d.mean += apart;
    }
  }
  EXPECT_GT(n, 0U);
  d.mean /= static_cast<double>(n);
  EXPECT_TRUE(std::isfinite(d.mean));  // std::max overlooks what is not a number
  return d;
}

/// No log-probability is further away than `tolerance`, and all together a tenth of it. Their mean
/// is less by more than that, as errors have it that are spread normally (0.8 of a deviation, not
/// four) over logits most of which are not the largest: 1/18 on the CPU, and less. What is wrong in
/// a few rows or by a little, but everywhere, shows there first.
inline void expect_within(double tolerance, const LogProbs& found, const LogProbs& expected) {
  const Distance d = distance(found, expected);
  EXPECT_LT(d.largest, tolerance);
  EXPECT_LT(d.mean, tolerance / 10.0);
}

/// How far log-probabilities may be from float32's when the arithmetic is narrower. Rounding is an
/// error of `half_a_unit` relative, at most, at eight places of each layer (the inputs of four
/// matrices, queries, keys, values, probabilities) and before the head. They add like a random
/// walk; a logit is a sum of terms as large as itself, so four deviations of it, doubled because
/// scores of these sharp models amplify what enters the softmax.
inline double rounding_tolerance(const Golden& g, const ModelInfo& info, double half_a_unit) {
  const double places = 8.0 * static_cast<double>(info.layers) + 1.0;
  return 2.0 * 4.0 * half_a_unit * std::sqrt(places) * g.max_logit;
}
inline constexpr double kBf16HalfUnit = 0x1p-9, kF16HalfUnit = 0x1p-12;

/// In the arithmetic `type`; `in_f32`: what another order of sums may make.
inline double tolerance_in(std::string_view type, const Golden& g, const ModelInfo& info,
                           double in_f32) {
  if (type == "f32") return in_f32;
  return rounding_tolerance(g, info, type == "f16" ? kF16HalfUnit : kBf16HalfUnit);
}

/// The greedy continuation is transformers' as far as rounding by `tolerance` lets it be, and as
/// likely: the first token that differs must lead the second best by no more than both may move.
inline void expect_greedy_continuation(Engine& engine, const Golden& g, double tolerance) {
  if (g.greedy.ids.empty()) return;
  Request request{.prompt = g.ids};
  request.sampling = {.max_tokens = static_cast<std::int64_t>(g.greedy.ids.size()),
                      .temperature = 0.0F,
                      .ignore_eos = true,
                      .logprobs = 0};
  const auto result = engine.complete(std::move(request));
  ASSERT_TRUE(result);
  const Completion& found = result->completions.front();
  ASSERT_EQ(found.token_ids.size(), g.greedy.ids.size());
  for (std::size_t i = 0; i < g.greedy.ids.size(); ++i) {
    if (found.token_ids[i] != g.greedy.ids[i]) {
      EXPECT_LE(g.greedy.margins[i], 2.0 * tolerance) << "token " << i;
      return;
    }
    EXPECT_NEAR(found.logprobs[i].chosen, g.greedy.logprobs[i], tolerance) << "token " << i;
  }
}

/// All of them, or those with `part` in their names.
inline std::vector<std::string> golden_names(std::string_view part = "") {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("tests/models/data")) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.find(part) != std::string::npos) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// What INSTANTIATE_TEST_SUITE_P calls the test of a model.
inline std::string golden_test_name(const testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace spate::test
