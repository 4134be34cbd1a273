// HfConfig: config.json behind typed getters whose errors (LoadError) name the key. Dialects are
// made equal here and nowhere else: transformers 5 (`rope_parameters`, `dtype`), what came before
// it
// (`rope_theta`, `rope_scaling`, `torch_dtype`), and language halves nested in `text_config`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "spate/result.h"

namespace spate {

/// Rotary positions as configured; models/rope.h computes frequencies from it. The names are those
/// of transformers' `rope_parameters`. A value that a type does not use has its default.
struct RopeConfig {
  enum class Type : std::uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };

  Type type = Type::kDefault;
  double theta = 10'000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t max_position_embeddings = 0;
  std::int64_t original_max_position_embeddings = 0;  // max_position_embeddings if not given
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  std::optional<double> attention_factor = std::nullopt;  // derived from the others when absent
  double mscale = 0.0;                                    // 0: not given
  double mscale_all_dim = 0.0;
  bool truncate = true;
  std::optional<double> partial_rotary_factor = std::nullopt;
  std::vector<double> short_factor{};  // longrope: one for each pair
  std::vector<double> long_factor{};

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

/// The extents that nearly every decoder has, under the names that most share with Llama; checked
/// to be positive, to divide, and to stay within what an int32 index can hold.
struct DecoderShape {
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t query_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab = 0;
  std::int64_t max_positions = 0;
};

/// A JSON object and where it is in the file. Cheap to copy: copies share the document. A null is
/// the same as an absent key.
class HfConfig {
 public:
  /// Reads config.json in `folder`.
  static Result<HfConfig> load(const std::string& folder);
  static Result<HfConfig> parse(std::string_view text, std::string_view source);

  bool has(std::string_view key) const;

  std::int64_t integer(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t otherwise) const;
  /// An integer in [1, 2^31): sizes and counts.
  std::int64_t extent(std::string_view key) const;
  std::int64_t extent(std::string_view key, std::int64_t otherwise) const;
  float number(std::string_view key) const;
  float number(std::string_view key, float otherwise) const;
  double real(std::string_view key) const;
  double real(std::string_view key, double otherwise) const;
  bool flag(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key) const;
  std::string text(std::string_view key, std::string_view otherwise) const;
  HfConfig object(std::string_view key) const;
  /// The objects, integers, ... of an array are read through the raw JSON.
  const Json& array(std::string_view key) const;
  const Json& json() const { return *node_; }

  /// `architectures[0]`.
  std::string architecture() const;
  DecoderShape decoder_shape() const;
  /// The element type the weights were published in, if the file says so.
  std::optional<DType> dtype() const;
  /// Where rotary parameters differ by layer type, those of `layer_type`.
  RopeConfig rope(std::string_view layer_type = "full_attention") const;
  /// How many tokens (itself included) layer `layer` sees; nothing if it sees all.
  std::optional<std::int64_t> sliding_window(std::int64_t layer) const;
  /// Empty when the config names none.
  std::vector<std::int64_t> eos_token_ids() const;

  /// For messages: "config.json: rope_scaling.factor".
  std::string where(std::string_view key) const;

 private:
  HfConfig(std::shared_ptr<const Json> document, const Json* node, std::string source,
           std::string path);

  const Json* get(std::string_view key) const;   // null when absent
  const Json& need(std::string_view key) const;  // throws when absent

  std::shared_ptr<const Json> document_;
  const Json* node_;
  std::string source_;
  std::string path_;
};

}  // namespace spate
