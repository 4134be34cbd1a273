// Logits that Hugging Face transformers computed in float32 (tools/make_model_goldens.py), and how
// far an engine's are from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "tests/engine/engine_fixture.h"
#include "weights/checkpoint.h"

namespace spate::test {

struct Golden {
  std::vector<TokenId> ids{};
  std::int64_t context = 0;
  std::int64_t first_row = 0;
  std::vector<std::vector<double>> logprobs{};  // of rows first_row ...
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

inline std::vector<Golden> load_goldens(const std::string& folder) {
  const Result<Json> json = read_json(folder + "/golden.json");
  Result<Checkpoint> tensors = Checkpoint::open(folder + "/golden.safetensors");
  EXPECT_TRUE(json && tensors);
  std::vector<Golden> goldens;
  for (const Json& s : json->at("sequences")) {
    Golden g{.ids = s.at("ids").get<std::vector<TokenId>>(),
             .context = s.at("context").get<std::int64_t>(),
             .first_row = s.at("first_row").get<std::int64_t>()};
    const Tensor logits = tensors->tensors()[goldens.size()]->view;
    for (std::int64_t row = 0; row < logits.dim(0); ++row) {
      g.logprobs.push_back(log_softmax(logits.row<float>(row), logits.dim(1)));
      for (std::int64_t i = 0; i < logits.dim(1); ++i) {
        g.max_logit =
            std::max(g.max_logit, std::abs(static_cast<double>(logits.row<float>(row)[i])));
      }
    }
    goldens.push_back(std::move(g));
  }
  return goldens;
}

inline double largest_difference(const Golden& g, const std::vector<std::vector<float>>& rows) {
  double worst = 0.0;
  for (std::size_t r = 0; r < g.logprobs.size(); ++r) {
    const std::size_t row = static_cast<std::size_t>(g.first_row) + r;
    if (row == rows.size() && row + 1 == g.ids.size()) break;  // no room for the last
    const auto& ours = rows.at(row);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(ours[i]) - g.logprobs[r][i]));
    }
  }
  return worst;
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

inline std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("tests/models/data")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace spate::test
