#include "weights/generation_config.h"

#include <filesystem>

#include "weights/model_json.h"
#include "weights/token_ids.h"

namespace spate {
namespace {

Result<GenerationConfig> from(Result<Json> document, std::string_view source) {
  if (!document) return document.error();
  GenerationConfig config{.defaults = std::move(*document)};
  drop_nulls(config.defaults);
  const auto eos = config.defaults.find("eos_token_id");
  if (eos == config.defaults.end()) return config;
  Result<std::vector<std::int64_t>> ids = token_ids(*eos, source, "eos_token_id");
  if (!ids) return ids.error();
  config.eos_token_ids = std::move(*ids);
  return config;
}

}  // namespace

Result<GenerationConfig> GenerationConfig::parse(std::string_view text, std::string_view source) {
  return from(parse_model_json(text, source), source);
}

Result<GenerationConfig> GenerationConfig::load(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "generation_config.json").string();
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return GenerationConfig{};
  return from(read_model_json(path), path);
}

}  // namespace spate
