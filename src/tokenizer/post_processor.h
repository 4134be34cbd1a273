// What encode puts around a text when special tokens are asked for. All post-processors of
// tokenizer.json come down to tokens before and after a single sequence; pairs are not built.
#pragma once

#include <vector>

#include "spate/sampling.h"
#include "tokenizer/json_node.h"

namespace spate {

struct SpecialFrame {
  std::vector<TokenId> before{};
  std::vector<TokenId> after{};
};

/// Throws LoadError for a type that is not known or a template without exactly one text.
SpecialFrame parse_post_processor(const JsonNode& node);

}  // namespace spate
