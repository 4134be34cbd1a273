// The JSON of a safetensors header, before it is compared with the file. Internal to
// safetensors.cc.
#pragma once

#include <string_view>

#include "spate/result.h"
#include "weights/safetensors.h"

namespace spate {

/// Offsets are as in the header: from its end, each in [0, 2^62].
Result<SafetensorsIndex> parse_safetensors_header(std::string_view header, std::string_view source);

}  // namespace spate
