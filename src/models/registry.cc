#include "models/registry.h"

#include <array>

namespace spate {

ModelPtr make_llama(const HfConfig& hf, const Params& w);
ModelPtr make_qwen3(const HfConfig& hf, const Params& w);

namespace {

constexpr auto kArchitectures = std::to_array<Architecture>({
    {"LlamaForCausalLM", make_llama},
    {"MistralForCausalLM", make_llama},
    {"Qwen2ForCausalLM", make_llama},
    {"Qwen3ForCausalLM", make_qwen3},
});

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture& a : kArchitectures) {
    if (a.name == name) return &a;
  }
  return nullptr;
}

std::string supported_architectures() {
  std::string names;
  for (const Architecture& a : kArchitectures) {
    if (!names.empty()) names += ", ";
    names += a.name;
  }
  return names;
}

}  // namespace spate
