// The JSON files of a model folder, read with more suspicion than core/json.h: they come from
// strangers.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"
#include "spate/result.h"

namespace spate {

/// An object of at most 64 MiB and 64 levels (code that walks JSON recurses); errors name `source`.
Result<Json> parse_model_json(std::string_view text, std::string_view source);
Result<Json> read_model_json(const std::string& path);

/// Removes the keys of an object, and of objects in it, whose value is null.
void drop_nulls(Json& object);

}  // namespace spate
