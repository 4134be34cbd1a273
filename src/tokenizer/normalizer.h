// Normalizers of tokenizer.json: they rewrite text before it is cut into words. Immutable and safe
// to share between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tokenizer/json_node.h"

namespace spate {

class Normalizer {
 public:
  Normalizer() = default;
  virtual ~Normalizer() = default;
  Normalizer(const Normalizer&) = delete;
  Normalizer& operator=(const Normalizer&) = delete;

  /// Takes valid UTF-8 and leaves valid UTF-8.
  virtual void apply(std::string& text) const = 0;
};

/// Throws LoadError for a type that is not known.
std::unique_ptr<Normalizer> make_normalizer(const JsonNode& node);

}  // namespace spate
