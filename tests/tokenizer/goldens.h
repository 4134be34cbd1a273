// The golden files of tools/make_tokenizer_goldens.py.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/json.h"

namespace spate::test {

/// Reads a JSON file below tests/tokenizer/data; fails loudly where it is not there.
Json read_golden(const std::string& name);
std::string golden_path(const std::string& name);
/// The texts that everything is tried on; some are not UTF-8.
std::vector<std::string> golden_texts();
/// The folder shared/data/tokenizers next to the repository, or "" where it is absent.
std::string shared_tokenizers();

/// {"INDEX": value} as pairs of text index and value.
std::vector<std::pair<std::size_t, Json>> indexed(const Json& object);

}  // namespace spate::test
