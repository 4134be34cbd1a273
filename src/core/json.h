// JSON through nlohmann-json, with errors as values.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "spate/result.h"

namespace spate {

using Json = nlohmann::json;
/// Keeps the order of keys, for what people read and for goldens that depend on it.
using OrderedJson = nlohmann::ordered_json;

/// Parses `text`; an error names `source` (a file, a line) and the byte offset.
Result<Json> parse_json(std::string_view text, std::string_view source);
Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view source);

/// Reads and parses a file.
Result<Json> read_json(const std::string& path);

/// The whole of a file, or an Error with the system's reason. Refuses more than `max_bytes`.
Result<std::string> read_file(const std::string& path,
                              std::int64_t max_bytes = std::int64_t{1} << 30);

}  // namespace spate
