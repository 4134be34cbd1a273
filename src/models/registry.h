// The one list of supported architectures.
#pragma once

#include <string>
#include <string_view>

#include "models/language_model.h"

namespace spate {

struct Architecture {
  std::string_view name;  // `architectures[0]` of config.json
  ModelPtr (*make)(const HfConfig&, const Params&);
};

/// Null when it is not supported.
const Architecture* find_architecture(std::string_view name);

/// "LlamaForCausalLM, MistralForCausalLM, ...", for messages.
std::string supported_architectures();

}  // namespace spate
