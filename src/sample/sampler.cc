#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/check.h"
#include "sample/params.h"

namespace spate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The lowest id among the largest logits.
TokenId argmax(std::span<const float> row, float max, const SamplerScratch& scratch) {
  const auto block = std::find(scratch.maxima.begin(), scratch.maxima.end(), max);
  const auto first = row.begin() + (block - scratch.maxima.begin()) * internal::kBlock;
  return static_cast<TokenId>(std::find(first, row.end(), max) - row.begin());
}

// The tokens still in the race, as logits and weights; a filter zeroes the weights of those that
// it drops.
class Race {
 public:
  Race(std::span<const float> row, float max, const SamplingParams& params, SamplerScratch* scratch)
      : params_(params),
        s_(*scratch),
        x_(row.data()),
        n_(static_cast<std::int64_t>(row.size())),
        max_(max),
        inverse_temperature_(1.0F / params.temperature) {}

  TokenId draw(double uniform) {
    const bool limited = params_.top_k > 0 && params_.top_k < n_;
    const bool few = limited && params_.top_k <= internal::block_count(n_);
    if (few) take_candidates();
    s_.kernels->weigh(x_, n_, max_, inverse_temperature_, s_.weights.data(), s_.sums.data());
    if (limited && !few) top_k();
    if (params_.typical_p < 1) typical();
    if (params_.top_p < 1) top_p();
    if (params_.min_p > 0) min_p();
    return pick(uniform);
  }

 private:
  // A small top_k goes on with those k tokens alone.
  void take_candidates() {
    const std::int64_t kept =
        internal::select_top(*s_.kernels, x_, n_, s_.maxima.data(), params_.top_k, &s_.selection);
    for (std::int64_t i = 0; i < kept; ++i) {
      s_.ids[static_cast<std::size_t>(i)] =
          internal::order_index(s_.selection.order[static_cast<std::size_t>(i)]);
    }
    std::sort(s_.ids.begin(), s_.ids.begin() + kept);
    for (std::int64_t i = 0; i < kept; ++i) {
      const auto at = static_cast<std::size_t>(i);
      s_.candidates[at] = x_[s_.ids[at]];
    }
    x_ = s_.candidates.data();
    n_ = kept;
    ids_ = s_.ids.data();
  }

  void top_k() {
    std::copy(x_, x_ + n_, s_.keys.begin());
    pad_keys();
    cut(s_.keys.data(), -kInfinity, max_,
        {static_cast<double>(params_.top_k), static_cast<double>(n_), true});
  }

  // Meister et al., "Locally typical sampling", 2023.
  void typical() {
    const double mass = total();
    const double log_mass = std::log(mass);
    const double entropy = log_mass - energy() / mass;
    for (std::int64_t i = 0; i < n_; ++i) {
      const double surprise = log_mass - scaled(i);
      s_.keys[static_cast<std::size_t>(i)] =
          weight(i) > 0 ? static_cast<float>(-std::abs(surprise - entropy)) : -kInfinity;
    }
    pad_keys();
    cut(s_.keys.data(), -kInfinity, 0.0F, {params_.typical_p * mass, mass, false});
    max_weight_ = max_weight();
  }

  void top_p() {
    const double mass = total();
    // All weights up to this one together are not worth 1 - top_p.
    const double spare = (1.0 - params_.top_p) * mass / static_cast<double>(n_) * (1 - 0x1p-20);
    cut(s_.weights.data(), static_cast<float>(spare), max_weight_,
        {params_.top_p * mass, mass, false});
  }

  void min_p() {
    const float least = std::nextafter(params_.min_p * max_weight_, 0.0F);
    s_.kernels->keep(s_.weights.data(), least, s_.weights.data(), n_, s_.sums.data());
  }

  TokenId pick(double uniform) const {
    const std::int64_t pieces = internal::piece_count(n_);
    const double target = uniform * total();
    std::int64_t piece = 0;
    double passed = 0;
    while (piece + 1 < pieces && passed + sum(piece) <= target) passed += sum(piece++);
    // A piece's sum and the walk through it round differently: the walk may end a hair short of
    // the target, and then the last token with a weight is the one.
    std::int64_t chosen = last_alive(std::min(n_, (piece + 1) * internal::kPiece));
    for (std::int64_t i = piece * internal::kPiece; i < chosen; ++i) {
      passed += weight(i);
      if (passed > target) chosen = i;
    }
    return static_cast<TokenId>(ids_ == nullptr ? chosen : ids_[chosen]);
  }

  std::int64_t last_alive(std::int64_t end) const {
    while (end > 1 && weight(end - 1) == 0) --end;
    return end - 1;
  }

  void cut(const float* keys, float lo, float hi, const internal::CutGoal& goal) {
    internal::cut(*s_.kernels, {keys, s_.weights.data(), s_.sums.data(), n_}, lo, hi, goal,
                  &s_.selection);
  }
  void pad_keys() {
    std::fill(s_.keys.begin() + n_, s_.keys.begin() + internal::padded_size(n_), -kInfinity);
  }
  float max_weight() {
    internal::RowScan found;
    s_.kernels->scan(s_.weights.data(), n_, s_.maxima.data(), &found);
    return found.max;
  }
  // The sum of weight times scaled logit, in eight lanes.
  double energy() const {
    constexpr std::int64_t kLanes = 8;
    double lanes[kLanes] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= n_; i += kLanes) {
      for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += energy_of(i + lane);
    }
    for (; i < n_; ++i) lanes[0] += energy_of(i);
    return std::accumulate(lanes, lanes + kLanes, 0.0);
  }
  double energy_of(std::int64_t i) const { return weight(i) > 0 ? weight(i) * scaled(i) : 0.0; }
  double weight(std::int64_t i) const { return s_.weights[static_cast<std::size_t>(i)]; }
  double sum(std::int64_t piece) const { return s_.sums[static_cast<std::size_t>(piece)]; }
  double scaled(std::int64_t i) const { return double{x_[i] - max_} * inverse_temperature_; }
  double total() const {
    return std::accumulate(s_.sums.begin(), s_.sums.begin() + internal::piece_count(n_), 0.0);
  }

  const SamplingParams& params_;
  SamplerScratch& s_;
  const float* x_;
  std::int64_t n_;
  const std::int32_t* ids_ = nullptr;  // null: the index is the id
  float max_;
  float inverse_temperature_;
  float max_weight_ = 1.0F;  // exp(0), until the most likely token is dropped
};

}  // namespace

Sampler::Sampler(const SamplingParams& params, std::int64_t vocab_size,
                 std::vector<LogitRule> rules)
    : params_(params), vocab_size_(vocab_size), rules_(std::move(rules)) {
  tracks_tokens_ = std::any_of(rules_.begin(), rules_.end(), reads_tokens);
}

Result<Sampler> Sampler::make(const SamplingParams& params, std::int64_t vocab_size,
                              std::span<const TokenId> eos_ids) {
  const Result<void> valid = validate(params, vocab_size);
  if (!valid) return valid.error();
  return Sampler(params, vocab_size, make_logit_rules(params, vocab_size, eos_ids));
}

Error Sampler::all_masked(const TokenHistory& history) const {
  return {
      ErrorCode::kInvalidArgument,
      fmt::format("no token is left at output {}: all {} logits are -inf after "
                  "allowed_token_ids ({} ids), banned_token_ids ({}), min_tokens ({}) and "
                  "logit_bias ({}); allow a token that does not end the text",
                  history.outputs(), vocab_size_, params_.allowed_token_ids.size(),
                  params_.banned_token_ids.size(), params_.min_tokens, params_.logit_bias.size())};
}

Result<void> Sampler::sample(std::span<const float> logits, const TokenHistory& history,
                             const RandomKey& key, SamplerScratch* scratch,
                             SampledToken* out) const {
  SPATE_CHECK_OP(static_cast<std::int64_t>(logits.size()), ==, vocab_size_);
  std::span<const float> row = logits;
  if (!rules_.empty()) {
    scratch->reserve(vocab_size_);
    const std::span<float> edited(scratch->row.data(), logits.size());
    std::copy(logits.begin(), logits.end(), edited.begin());
    for (const LogitRule& rule : rules_) apply(rule, history, edited);
    row = edited;
  }
  const Result<float> max = scan_row(row, scratch);
  if (!max) return max.error();
  if (*max == -kInfinity) return all_masked(history);
  if (params_.temperature < kGreedyBelow) {
    out->id = argmax(row, *max, *scratch);
  } else {
    const double random = uniform(key, history.outputs(), RandomStream::kDraw);
    out->id = Race(row, *max, params_, scratch).draw(random);
  }
  out->logprob.reset();
  out->top.clear();
  if (!params_.logprobs) return {};
  return add_logprobs(logits, *params_.logprobs, scratch, out);
}

}  // namespace spate
