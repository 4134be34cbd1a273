// Pre-tokenizers of tokenizer.json: they cut text into words and may rewrite it. Immutable and
// safe to share between threads.
#pragma once

#include <memory>

#include "tokenizer/json_node.h"
#include "tokenizer/segments.h"

namespace spate {

class PreTokenizer {
 public:
  PreTokenizer() = default;
  virtual ~PreTokenizer() = default;
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;

  virtual void apply(Segments& segments) const = 0;
};

/// Throws LoadError for a type that is not known.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonNode& node);
/// GPT-2's: its expression, then bytes as characters.
std::unique_ptr<PreTokenizer> make_byte_level_pre_tokenizer(bool add_prefix_space);
/// Spaces as U+2581, and one before a whole text that does not begin with one; does not cut.
std::unique_ptr<PreTokenizer> make_first_space_pre_tokenizer();

}  // namespace spate
