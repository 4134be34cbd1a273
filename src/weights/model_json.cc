#include "weights/model_json.h"

#include <algorithm>

#include <fmt/format.h>

namespace spate {
namespace {

constexpr std::int64_t kMaxBytes = std::int64_t{64} << 20;
constexpr int kMaxDepth = 64;

/// The deepest nesting of brackets, wherever the text stops making sense.
int depth_of(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Result<Json> parse_model_json(std::string_view text, std::string_view source) {
  if (depth_of(text) > kMaxDepth) {
    return Error{ErrorCode::kCorrupt,
                 fmt::format("{}: JSON nested more than {} levels deep", source, kMaxDepth)};
  }
  try {
    Result<Json> document = parse_json(text, source);
    if (document && !document->is_object()) {
      return Error{ErrorCode::kCorrupt, fmt::format("{}: not a JSON object", source)};
    }
    return document;
  } catch (const Json::exception& e) {  // a number that no double holds
    return Error{ErrorCode::kCorrupt, fmt::format("{}: {}", source, e.what())};
  }
}

Result<Json> read_model_json(const std::string& path) {
  const Result<std::string> text = read_file(path, kMaxBytes);
  if (!text) return text.error();
  return parse_model_json(*text, path);
}

void drop_nulls(Json& object) {
  for (auto it = object.begin(); it != object.end();) {
    if (it->is_null()) {
      it = object.erase(it);
    } else {
      if (it->is_object()) drop_nulls(*it);
      ++it;
    }
  }
}

}  // namespace spate
