// tokenizer.json as read from text: the two large tables of the model as flat lists, everything
// else as a small JSON document. One pass, no DOM for the half million strings of the tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"
#include "tokenizer/vocab.h"

namespace spate {

// nlohmann::json's move is noexcept and yet calls what may throw.
struct TokenizerDocument {  // NOLINT(bugprone-exception-escape)
  Json root{};              // without model/vocab and model/merges
  bool has_vocab = false;
  Vocab vocab{};                 // of an object {token: id}
  std::vector<double> scores{};  // of a list [[token, score], ...]; the id is the index
  std::vector<std::pair<std::string, std::string>> merges{};
};

/// Throws LoadError with `source` and the byte or key of what is wrong.
TokenizerDocument read_tokenizer_document(std::string_view text, const std::string& source);

}  // namespace spate
