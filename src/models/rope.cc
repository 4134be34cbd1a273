// Every formula is that of transformers' modeling_rope_utils, in its precision: scalars are Python
// floats (double here), tensors float32. Only powers are computed in double and rounded, where
// PyTorch's vectorized powf may be one unit in the last place off.
//
// Two scalings depend on a length, and there transformers uses the longest sequence it has seen so
// far: frequencies change while a sequence grows, cached keys keep the old ones, and the result
// depends on how the prompt was chunked and on what ran before. Here the length is the engine's
// context, fixed at load.
//   dynamic: a context within max_position_embeddings gives plain frequencies, as in transformers.
//     A longer context gives the frequencies that transformers uses for a sequence of exactly that
//     length, for all sequences; shorter ones differ from transformers, but never from themselves.
//   longrope: the long factors if the context exceeds original_max_position_embeddings, else the
//     short ones.
#include "models/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "core/load_error.h"

namespace spate {
namespace {

/// base^(2i / dim) for each pair i.
std::vector<float> periods(double base, std::int64_t dim) {
  const auto b = static_cast<double>(static_cast<float>(base));
  std::vector<float> out;
  for (std::int64_t i = 0; i < dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(dim);
    out.push_back(static_cast<float>(std::pow(b, static_cast<double>(exponent))));
  }
  return out;
}

std::vector<float> inverted(std::vector<float> periods) {
  for (float& x : periods) x = 1.0F / x;
  return periods;
}

RopeFrequencies linear(const RopeConfig& r, std::int64_t dim) {
  RopeFrequencies f{.inverse = inverted(periods(r.theta, dim))};
  for (float& x : f.inverse) x /= static_cast<float>(r.factor);
  return f;
}

RopeFrequencies dynamic(const RopeConfig& r, std::int64_t dim, std::int64_t context) {
  const auto trained = static_cast<double>(r.max_position_embeddings);
  const double length = std::max(static_cast<double>(context), trained);
  const double growth = r.factor * length / trained - (r.factor - 1.0);
  const auto n = static_cast<double>(dim);
  return {.inverse = inverted(periods(r.theta * std::pow(growth, n / (n - 2.0)), dim))};
}

RopeFrequencies llama3(const RopeConfig& r, std::int64_t dim) {
  const auto length = static_cast<double>(r.original_max_position_embeddings);
  const auto low = static_cast<float>(r.low_freq_factor);
  const auto band = static_cast<float>(r.high_freq_factor - r.low_freq_factor);
  const auto longest = static_cast<float>(length / r.low_freq_factor);
  const auto shortest = static_cast<float>(length / r.high_freq_factor);
  const auto factor = static_cast<float>(r.factor);
  RopeFrequencies f{.inverse = inverted(periods(r.theta, dim))};
  for (float& x : f.inverse) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / x;
    if (wavelength > longest) {
      x /= factor;
    } else if (wavelength >= shortest) {
      const float smooth = (static_cast<float>(length) / wavelength - low) / band;
      x = (1.0F - smooth) * x / factor + smooth * x;
    }
  }
  return f;
}

/// 0.1 m ln(s) + 1: how much longer contexts sharpen attention (YaRN, section 3.4).
double yarn_scale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

/// YaRN (Peng et al., 2023): pairs that turn often are kept, pairs that turn less than once within
/// the trained context are slowed down by `factor`, with a ramp in between.
RopeFrequencies yarn(const RopeConfig& r, std::int64_t dim) {
  const auto n = static_cast<double>(dim);
  const auto pair_turning = [&](double rotations) {
    const auto length = static_cast<double>(r.original_max_position_embeddings);
    return n * std::log(length / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(r.theta));
  };
  double low = pair_turning(r.beta_fast);
  double high = pair_turning(r.beta_slow);
  if (r.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, n - 1.0);
  if (low == high) high += 0.001;

  RopeFrequencies f{.inverse = periods(r.theta, dim)};
  float pair = 0.0F;
  for (float& x : f.inverse) {
    const float ramp = (pair - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep = 1.0F - std::clamp(ramp, 0.0F, 1.0F);
    const float slow = 1.0F / (static_cast<float>(r.factor) * x);
    x = slow * (1.0F - keep) + (1.0F / x) * keep;
    pair += 1.0F;
  }
  const bool both = r.mscale != 0.0 && r.mscale_all_dim != 0.0;
  const double derived =
      both ? yarn_scale(r.factor, r.mscale) / yarn_scale(r.factor, r.mscale_all_dim)
           : yarn_scale(r.factor, 1.0);
  f.attention_scale = static_cast<float>(r.attention_factor.value_or(derived));
  return f;
}

/// LongRoPE (Ding et al., 2024): one searched factor for each pair.
RopeFrequencies longrope(const RopeConfig& r, std::int64_t dim, std::int64_t context) {
  const bool is_long = context > r.original_max_position_embeddings;
  const std::vector<double>& factors = is_long ? r.long_factor : r.short_factor;
  RopeFrequencies f{.inverse = periods(r.theta, dim)};
  if (factors.size() != f.inverse.size()) {
    throw LoadError(
        ErrorCode::kInvalidArgument,
        fmt::format("config.json: rope {} has {} factors, but a head has {} pairs",
                    is_long ? "long_factor" : "short_factor", factors.size(), f.inverse.size()));
  }
  for (std::size_t i = 0; i < factors.size(); ++i) {
    f.inverse[i] = 1.0F / (static_cast<float>(factors[i]) * f.inverse[i]);
  }
  const auto length =
      static_cast<double>(std::max<std::int64_t>(2, r.original_max_position_embeddings));
  const double derived =
      r.factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(r.factor) / std::log(length));
  f.attention_scale = static_cast<float>(r.attention_factor.value_or(derived));
  return f;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                 std::int64_t context) {
  const double part = rope.partial_rotary_factor.value_or(1.0);
  const auto dim = static_cast<std::int64_t>(static_cast<double>(head_dim) * part);
  const std::int64_t least = rope.type == RopeConfig::Type::kDynamic ? 4 : 2;
  if (dim < least || dim % 2 != 0 || dim > head_dim) {
    throw LoadError(ErrorCode::kInvalidArgument,
                    fmt::format("config.json: rotary positions for {} of {} head coordinates: it "
                                "must be an even number of at least {}",
                                dim, head_dim, least));
  }
  switch (rope.type) {
    case RopeConfig::Type::kLinear:
      return linear(rope, dim);
    case RopeConfig::Type::kDynamic:
      return dynamic(rope, dim, context);
    case RopeConfig::Type::kLlama3:
      return llama3(rope, dim);
    case RopeConfig::Type::kYarn:
      return yarn(rope, dim);
    case RopeConfig::Type::kLongRope:
      return longrope(rope, dim, context);
    default:
      return {.inverse = inverted(periods(rope.theta, dim))};
  }
}

}  // namespace spate
