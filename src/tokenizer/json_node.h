// A cursor into a JSON document that knows its file and path, so that every refusal names both.
// A view: the document must outlive it. Throws LoadError.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"
#include "spate/result.h"

namespace spate {

class JsonNode {
 public:
  /// `where` names the file, e.g. "model/tokenizer.json".
  JsonNode(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  const Json& json() const { return *value_; }
  const std::string& where() const { return where_; }

  /// The member `key`; absent and null are the same thing.
  std::optional<JsonNode> find(std::string_view key) const;
  JsonNode at(std::string_view key) const;
  std::vector<JsonNode> items() const;                            // of an array
  std::vector<std::pair<std::string, JsonNode>> members() const;  // of an object

  std::string text() const;
  std::int64_t integer() const;
  std::string text(std::string_view key) const { return at(key).text(); }
  std::string text(std::string_view key, std::string_view fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  std::int64_t integer(std::string_view key, std::int64_t fallback) const;
  /// A string of exactly one character.
  std::string character(std::string_view key) const;

  [[noreturn]] void refuse(ErrorCode code, std::string_view message) const;
  /// Refuses sequences within sequences where `depth` is more than any pipeline has.
  void limit_nesting(int depth) const;

 private:
  const Json* value_;
  std::string where_;
};

}  // namespace spate
