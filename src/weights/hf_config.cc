#include "weights/hf_config.h"

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/load_error.h"
#include "weights/model_json.h"
#include "weights/quote_name.h"
#include "weights/token_ids.h"

namespace spate {
namespace {

constexpr std::int64_t kLargestExtent = std::numeric_limits<std::int32_t>::max();

/// What transformers' config classes assume when a key is not in the file at all (a null says
/// "none", and stays). `json` is the value as the file would have it.
struct Default {
  std::string_view model_type, key, json;
};

constexpr auto kDefaults = std::to_array<Default>({
    {"llama", "use_sliding_window", "false"},
    {"llama", "rms_norm_eps", "1e-6"},
    {"mistral", "sliding_window", "4096"},
    {"mistral", "rms_norm_eps", "1e-6"},
    {"qwen2", "use_sliding_window", "false"},
    {"qwen2", "max_window_layers", "28"},
    {"qwen2", "rms_norm_eps", "1e-6"},
    {"qwen3", "use_sliding_window", "false"},
    {"qwen3", "max_window_layers", "28"},
    {"qwen3", "rms_norm_eps", "1e-6"},
    {"qwen3", "head_dim", "128"},
});

void add_defaults(Json& document) {
  const auto type = document.find("model_type");
  if (type == document.end() || !type->is_string()) return;
  const std::string name = *type;
  for (const Default& d : kDefaults) {
    const std::string key(d.key);
    if (d.model_type == name && !document.contains(key)) document[key] = Json::parse(d.json);
  }
}

/// Moves what `text_config` says about the language half to the top. Where both speak, the top
/// knows better what the whole model is called and whether its head is tied.
void lift_text_config(Json& document) {
  const auto nested = document.find("text_config");
  if (nested == document.end() || !nested->is_object()) return;
  const Json text = std::move(*nested);
  document.erase(nested);
  for (const auto& [key, value] : text.items()) {
    if (value.is_null()) continue;
    const bool top_knows = key == "architectures" || key == "model_type" ||
                           key == "tie_word_embeddings" || key == "dtype" || key == "torch_dtype";
    const auto at_top = document.find(key);
    const bool said = at_top != document.end() && !at_top->is_null();
    if (!(top_knows && said)) document[key] = value;
  }
}

std::string shown(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
}

[[noreturn]] void refuse(const HfConfig& config, std::string_view key, const Json& value,
                         std::string_view wanted) {
  throw LoadError(ErrorCode::kInvalidArgument,
                  fmt::format("{} is {}, not {}", config.where(key), shown(value), wanted));
}

}  // namespace

HfConfig::HfConfig(std::shared_ptr<const Json> document, const Json* node, std::string source,
                   std::string path)
    : document_(std::move(document)),
      node_(node),
      source_(std::move(source)),
      path_(std::move(path)) {}

Result<HfConfig> HfConfig::load(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "config.json").string();
  const Result<std::string> text = read_file(path);
  if (!text) return text.error();
  return parse(*text, path);
}

Result<HfConfig> HfConfig::parse(std::string_view text, std::string_view source) {
  Result<Json> parsed = parse_model_json(text, source);
  if (!parsed) return parsed.error();
  auto document = std::make_shared<Json>(std::move(*parsed));
  lift_text_config(*document);
  add_defaults(*document);
  const Json* top = document.get();
  return HfConfig(std::move(document), top, std::string(source), "");
}

std::string HfConfig::where(std::string_view key) const {
  return fmt::format("{}: {}{}{}", source_, path_, path_.empty() ? "" : ".", key);
}

const Json* HfConfig::get(std::string_view key) const {
  const auto found = node_->find(std::string(key));
  return found == node_->end() || found->is_null() ? nullptr : &*found;
}

const Json& HfConfig::need(std::string_view key) const {
  const Json* value = get(key);
  if (value == nullptr) {
    throw LoadError(ErrorCode::kNotFound,
                    fmt::format("{} is missing; this architecture needs it", where(key)));
  }
  return *value;
}

bool HfConfig::has(std::string_view key) const { return get(key) != nullptr; }

std::int64_t HfConfig::integer(std::string_view key) const {
  constexpr double kExact = 9007199254740992.0;  // 2^53: doubles up to here are whole numbers
  const Json& value = need(key);
  if (value.is_number_unsigned() && value.get<std::uint64_t>() >> 63 != 0) {
    refuse(*this, key, value, "an integer of 64 bits");
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  // Some exporters write 8192.0.
  const double real = value.is_number_float() ? value.get<double>() : 0.5;  // 0.5: refused
  if (std::abs(real) > kExact || real != std::floor(real)) {
    refuse(*this, key, value, "an integer");
  }
  return static_cast<std::int64_t>(real);
}

std::int64_t HfConfig::integer(std::string_view key, std::int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}

std::int64_t HfConfig::extent(std::string_view key) const {
  const std::int64_t value = integer(key);
  if (value < 1 || value > kLargestExtent) {
    refuse(*this, key, value, "a size between 1 and 2147483647");
  }
  return value;
}

std::int64_t HfConfig::extent(std::string_view key, std::int64_t otherwise) const {
  return has(key) ? extent(key) : otherwise;
}

double HfConfig::real(std::string_view key) const {
  const Json& value = need(key);
  if (!value.is_number()) refuse(*this, key, value, "a number");
  return value.get<double>();
}

double HfConfig::real(std::string_view key, double otherwise) const {
  return has(key) ? real(key) : otherwise;
}

float HfConfig::number(std::string_view key) const {
  const double value = real(key);
  if (std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) {
    refuse(*this, key, value, "a number of 32 bits");
  }
  return static_cast<float>(value);
}

float HfConfig::number(std::string_view key, float otherwise) const {
  return has(key) ? number(key) : otherwise;
}

bool HfConfig::flag(std::string_view key, bool otherwise) const {
  const Json* value = get(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(*this, key, *value, "true or false");
  return value->get<bool>();
}

std::string HfConfig::text(std::string_view key) const {
  const Json& value = need(key);
  if (!value.is_string()) refuse(*this, key, value, "a string");
  return value.get<std::string>();
}

std::string HfConfig::text(std::string_view key, std::string_view otherwise) const {
  return has(key) ? text(key) : std::string(otherwise);
}

HfConfig HfConfig::object(std::string_view key) const {
  const Json& value = need(key);
  if (!value.is_object()) refuse(*this, key, value, "an object");
  const std::string path = path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  return {document_, &value, source_, path};
}

const Json& HfConfig::array(std::string_view key) const {
  const Json& value = need(key);
  if (!value.is_array()) refuse(*this, key, value, "an array");
  return value;
}

std::string HfConfig::architecture() const {
  const Json& names = array("architectures");
  if (names.empty() || !names.front().is_string()) {
    refuse(*this, "architectures", names, "a list of names");
  }
  return names.front().get<std::string>();
}

std::optional<DType> HfConfig::dtype() const {
  const std::string_view key = has("dtype") ? "dtype" : "torch_dtype";
  if (!has(key)) return std::nullopt;
  const std::string name = text(key);
  const std::optional<DType> dtype = dtype_named(name);
  if (!dtype) refuse(*this, key, name, "an element type that Spate knows (float32, bfloat16, ...)");
  return dtype;
}

std::vector<std::int64_t> HfConfig::eos_token_ids() const {
  const Json* value = get("eos_token_id");
  if (value == nullptr) return {};
  return value_or_throw(token_ids(*value, source_, "eos_token_id"));
}

}  // namespace spate
