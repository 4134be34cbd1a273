#include "tokenizer/json_node.h"

#include <fmt/format.h>

#include "core/load_error.h"
#include "tokenizer/utf8.h"

namespace spate {

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  if (!value_->is_object()) refuse(ErrorCode::kCorrupt, "an object is expected here");
  const auto it = value_->find(std::string(key));
  if (it == value_->end() || it->is_null()) return std::nullopt;
  return JsonNode(*it, fmt::format("{}/{}", where_, key));
}

JsonNode JsonNode::at(std::string_view key) const {
  std::optional<JsonNode> node = find(key);
  if (!node) refuse(ErrorCode::kCorrupt, fmt::format("\"{}\" is missing", key));
  return *std::move(node);
}

std::vector<JsonNode> JsonNode::items() const {
  if (!value_->is_array()) refuse(ErrorCode::kCorrupt, "an array is expected here");
  std::vector<JsonNode> nodes;
  nodes.reserve(value_->size());
  for (const Json& item : *value_) {
    nodes.emplace_back(item, fmt::format("{}/{}", where_, nodes.size()));
  }
  return nodes;
}

std::vector<std::pair<std::string, JsonNode>> JsonNode::members() const {
  if (!value_->is_object()) refuse(ErrorCode::kCorrupt, "an object is expected here");
  std::vector<std::pair<std::string, JsonNode>> nodes;
  for (const auto& [key, item] : value_->items()) {
    nodes.emplace_back(key, JsonNode(item, fmt::format("{}/{}", where_, key)));
  }
  return nodes;
}

std::string JsonNode::text() const {
  if (!value_->is_string()) refuse(ErrorCode::kCorrupt, "a string is expected here");
  return value_->get<std::string>();
}

std::int64_t JsonNode::integer() const {
  if (!value_->is_number_integer()) refuse(ErrorCode::kCorrupt, "an integer is expected here");
  return value_->get<std::int64_t>();
}

std::string JsonNode::text(std::string_view key, std::string_view fallback) const {
  const std::optional<JsonNode> node = find(key);
  return node ? node->text() : std::string(fallback);
}

bool JsonNode::flag(std::string_view key, bool fallback) const {
  const std::optional<JsonNode> node = find(key);
  if (!node) return fallback;
  if (!node->value_->is_boolean()) node->refuse(ErrorCode::kCorrupt, "true or false is expected");
  return node->value_->get<bool>();
}

std::int64_t JsonNode::integer(std::string_view key, std::int64_t fallback) const {
  const std::optional<JsonNode> node = find(key);
  return node ? node->integer() : fallback;
}

std::string JsonNode::character(std::string_view key) const {
  const JsonNode node = at(key);
  std::string content = node.text();
  if (content.empty() || utf8_length(content, 0) != content.size()) {
    node.refuse(ErrorCode::kCorrupt, "a string of one character is expected here");
  }
  return content;
}

void JsonNode::limit_nesting(int depth) const {
  constexpr int kMost = 32;
  if (depth > kMost) refuse(ErrorCode::kUnsupported, "nested too deeply");
}

void JsonNode::refuse(ErrorCode code, std::string_view message) const {
  throw LoadError(code, fmt::format("{}: {}", where_, message));
}

}  // namespace spate
