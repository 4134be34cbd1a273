// The parts of HfConfig that know what several keys mean together.
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/load_error.h"
#include "weights/hf_config.h"

namespace spate {
namespace {

// Far above any model, far below where a product of two of them overflows.
constexpr std::int64_t kMostLayers = 1 << 14;
constexpr std::int64_t kMostWidth = 1 << 24;
constexpr std::int64_t kMostHeads = 1 << 16;
constexpr std::int64_t kMostHeadDim = 1 << 14;
constexpr std::int64_t kMostTokens = 1 << 28;

constexpr double kLargestReal = 1e12;

std::int64_t bounded(const HfConfig& hf, std::string_view key, std::int64_t value,
                     std::int64_t most) {
  if (value <= most) return value;
  throw LoadError(ErrorCode::kInvalidArgument,
                  fmt::format("{} is {}, more than {}", hf.where(key), value, most));
}

void must_divide(const HfConfig& hf, std::string_view key, std::int64_t value,
                 std::string_view by_key, std::int64_t by) {
  if (value % by == 0) return;
  throw LoadError(ErrorCode::kInvalidArgument, fmt::format("{} is {}, which {} {} do not divide",
                                                           hf.where(key), value, by, by_key));
}

double within(const HfConfig& hf, std::string_view key, double value, double least) {
  if (value >= least && value <= kLargestReal) return value;
  throw LoadError(
      ErrorCode::kInvalidArgument,
      fmt::format("{} is {}, not between {} and {}", hf.where(key), value, least, kLargestReal));
}

double positive(const HfConfig& hf, std::string_view key, double otherwise) {
  constexpr double kLeast = 1e-6;
  return within(hf, key, hf.real(key, otherwise), kLeast);
}

std::vector<double> positive_list(const HfConfig& hf, std::string_view key) {
  std::vector<double> out;
  for (const Json& value : hf.array(key)) {
    const double real = value.is_number() ? value.get<double>() : 0.0;
    out.push_back(within(hf, key, real, 1e-6));
  }
  return out;
}

RopeConfig::Type rope_type(const HfConfig& hf) {
  const std::string_view key = hf.has("rope_type") ? "rope_type" : "type";
  const std::string name = hf.text(key, "default");
  if (name == "default") return RopeConfig::Type::kDefault;
  if (name == "linear") return RopeConfig::Type::kLinear;
  if (name == "dynamic") return RopeConfig::Type::kDynamic;
  if (name == "llama3") return RopeConfig::Type::kLlama3;
  if (name == "yarn") return RopeConfig::Type::kYarn;
  if (name == "longrope" || name == "su") return RopeConfig::Type::kLongRope;  // su: early Phi-3
  throw LoadError(ErrorCode::kUnsupported,
                  fmt::format("{} is \"{}\"; Spate knows default, linear, dynamic, llama3, yarn "
                              "and longrope",
                              hf.where(key), name.substr(0, 80)));
}

/// The object with the scaling, if any: `rope_scaling` of the old dialect wins over
/// `rope_parameters`, as in transformers; either may be nested per layer type.
std::optional<HfConfig> rope_object(const HfConfig& hf, std::string_view layer_type) {
  const bool old = hf.has("rope_scaling") && !hf.object("rope_scaling").json().empty();
  const std::string_view key = old ? "rope_scaling" : "rope_parameters";
  if (!hf.has(key)) return std::nullopt;
  const HfConfig rope = hf.object(key);
  for (const Json& value : rope.json()) {
    if (value.is_object()) return rope.object(layer_type);
  }
  return rope;
}

/// `factor` of yarn and longrope is the growth of the context when it is not given.
double implied_factor(const RopeConfig& r) {
  return static_cast<double>(r.max_position_embeddings) /
         static_cast<double>(r.original_max_position_embeddings);
}

void read_lengths(const HfConfig& hf, const HfConfig& rope, RopeConfig& r) {
  constexpr std::string_view kOriginal = "original_max_position_embeddings";
  r.max_position_embeddings = hf.extent("max_position_embeddings", 0);
  if (r.max_position_embeddings == 0) hf.extent("max_position_embeddings");  // throws: it is needed
  const HfConfig& from = hf.has(kOriginal) ? hf : rope;  // Phi-3 has it at the top
  r.original_max_position_embeddings = from.extent(kOriginal, r.max_position_embeddings);
}

void read_scaling(const HfConfig& rope, RopeConfig& r) {
  const bool implied = r.type == RopeConfig::Type::kYarn || r.type == RopeConfig::Type::kLongRope;
  if (!implied) rope.real("factor");  // throws: the others have no default
  r.factor = positive(rope, "factor", implied ? implied_factor(r) : 1.0);
  if (rope.has("attention_factor")) r.attention_factor = positive(rope, "attention_factor", 1.0);
  switch (r.type) {
    case RopeConfig::Type::kLlama3:
      r.low_freq_factor = positive(rope, "low_freq_factor", rope.real("low_freq_factor"));
      r.high_freq_factor = positive(rope, "high_freq_factor", rope.real("high_freq_factor"));
      if (r.high_freq_factor <= r.low_freq_factor) {
        throw LoadError(
            ErrorCode::kInvalidArgument,
            fmt::format("{} is {}, not more than low_freq_factor {}",
                        rope.where("high_freq_factor"), r.high_freq_factor, r.low_freq_factor));
      }
      break;
    case RopeConfig::Type::kYarn:
      // A zero is "not given" in transformers.
      if (rope.real("beta_fast", 0) != 0) r.beta_fast = positive(rope, "beta_fast", 0);
      if (rope.real("beta_slow", 0) != 0) r.beta_slow = positive(rope, "beta_slow", 0);
      r.mscale = within(rope, "mscale", rope.real("mscale", 0), 0);
      r.mscale_all_dim = within(rope, "mscale_all_dim", rope.real("mscale_all_dim", 0), 0);
      r.truncate = rope.flag("truncate", true);
      break;
    case RopeConfig::Type::kLongRope:
      r.short_factor = positive_list(rope, "short_factor");
      r.long_factor = positive_list(rope, "long_factor");
      break;
    default:
      break;
  }
}

}  // namespace

DecoderShape HfConfig::decoder_shape() const {
  DecoderShape s;
  s.layers = bounded(*this, "num_hidden_layers", extent("num_hidden_layers"), kMostLayers);
  s.hidden = bounded(*this, "hidden_size", extent("hidden_size"), kMostWidth);
  s.intermediate = bounded(*this, "intermediate_size", extent("intermediate_size"), kMostWidth);
  s.query_heads = bounded(*this, "num_attention_heads", extent("num_attention_heads"), kMostHeads);
  s.kv_heads = extent("num_key_value_heads", s.query_heads);
  must_divide(*this, "num_attention_heads", s.query_heads, "num_key_value_heads", s.kv_heads);
  if (!has("head_dim"))
    must_divide(*this, "hidden_size", s.hidden, "num_attention_heads", s.query_heads);
  s.head_dim =
      bounded(*this, "head_dim", extent("head_dim", s.hidden / s.query_heads), kMostHeadDim);
  bounded(*this, "head_dim * num_attention_heads", s.head_dim * s.query_heads, kMostWidth);
  s.vocab = bounded(*this, "vocab_size", extent("vocab_size"), kMostTokens);
  s.max_positions =
      bounded(*this, "max_position_embeddings", extent("max_position_embeddings"), kMostTokens);
  return s;
}

RopeConfig HfConfig::rope(std::string_view layer_type) const {
  constexpr double kLeastTheta = 1.0 + 1e-6;  // yarn divides by its logarithm
  RopeConfig r;
  const std::optional<HfConfig> given = rope_object(*this, layer_type);
  const HfConfig& rope = given ? *given : *this;
  const HfConfig& theta = rope.has("rope_theta") ? rope : *this;
  r.theta = within(theta, "rope_theta", theta.real("rope_theta", r.theta), kLeastTheta);
  const HfConfig& partial = rope.has("partial_rotary_factor") ? rope : *this;
  if (partial.has("partial_rotary_factor")) {
    r.partial_rotary_factor = positive(partial, "partial_rotary_factor", 1.0);
    if (*r.partial_rotary_factor > 1.0) {
      throw LoadError(ErrorCode::kInvalidArgument,
                      fmt::format("{} is {}, more than 1", partial.where("partial_rotary_factor"),
                                  *r.partial_rotary_factor));
    }
  }
  if (given) r.type = rope_type(rope);
  if (r.type == RopeConfig::Type::kDefault) {
    r.max_position_embeddings = extent("max_position_embeddings", 0);
    r.original_max_position_embeddings = r.max_position_embeddings;
    return r;
  }
  read_lengths(*this, rope, r);
  read_scaling(rope, r);
  return r;
}

std::optional<std::int64_t> HfConfig::sliding_window(std::int64_t layer) const {
  // Qwen writes a window and switches it off; Mistral's is on for every layer unless it is null.
  if (!flag("use_sliding_window", true) || !has("sliding_window")) return std::nullopt;
  const std::int64_t window = extent("sliding_window");
  if (!has("layer_types")) {
    const bool slides = layer >= integer("max_window_layers", 0);
    return slides ? std::optional(window) : std::nullopt;
  }
  const Json& types = array("layer_types");
  const auto index = static_cast<std::size_t>(layer);
  const Json type = index < types.size() ? types[index] : Json();
  if (type == "full_attention") return std::nullopt;
  if (type == "sliding_attention") return window;
  throw LoadError(ErrorCode::kUnsupported,
                  fmt::format("{}[{}] is {}; Spate knows full_attention and sliding_attention",
                              where("layer_types"), layer,
                              type.dump(-1, ' ', false, Json::error_handler_t::replace)));
}

}  // namespace spate
