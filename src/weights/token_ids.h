// A token id or a list of them, as `eos_token_id` is written.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/json.h"
#include "spate/result.h"

namespace spate {

inline Result<std::vector<std::int64_t>> token_ids(const Json& value, std::string_view source,
                                                   std::string_view key) {
  constexpr std::int64_t kLargest = 0x7fffffff;
  std::vector<std::int64_t> ids;
  const auto add = [&](const Json& id) {
    if (!id.is_number_integer()) return false;
    if (id.is_number_unsigned() && id.get<std::uint64_t>() > kLargest) return false;
    ids.push_back(id.get<std::int64_t>());
    return ids.back() >= 0;
  };
  bool good = true;
  if (value.is_array()) {
    for (const Json& id : value) good = good && add(id);
  } else {
    good = add(value);
  }
  if (good) return ids;
  return Error{
      ErrorCode::kInvalidArgument,
      fmt::format("{}: {} is {}, not a token id or a list of them", source, key,
                  value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80))};
}

}  // namespace spate
