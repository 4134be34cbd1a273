// generation_config.json: when a model's answer ends, and the sampling its makers suggest. The
// suggestions stay JSON here; src/sample turns them into defaults of a request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "spate/result.h"

namespace spate {

struct GenerationConfig {
  std::vector<std::int64_t> eos_token_ids{};
  Json defaults = Json::object();  // the whole file, without nulls

  /// Reads generation_config.json in `folder`; a folder without one has no suggestions.
  static Result<GenerationConfig> load(const std::string& folder);
  static Result<GenerationConfig> parse(std::string_view text, std::string_view source);
};

}  // namespace spate
