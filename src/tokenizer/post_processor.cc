#include "tokenizer/post_processor.h"

#include <string>

#include <fmt/format.h>

#include "tokenizer/vocab.h"

namespace spate {
namespace {

constexpr std::size_t kMaxTokens = 4096;

TokenId parse_id(const JsonNode& node) {
  const std::int64_t id = node.integer();
  if (id < 0 || id >= Vocab::kMaxIds) {
    node.refuse(ErrorCode::kCorrupt, fmt::format("token id {} is out of range", id));
  }
  return static_cast<TokenId>(id);
}

SpecialFrame parse_template(const JsonNode& node) {
  SpecialFrame frame;
  bool seen_text = false;
  for (const JsonNode& piece : node.at("single").items()) {
    if (piece.find("Sequence")) {
      if (seen_text) piece.refuse(ErrorCode::kUnsupported, "the text occurs twice");
      seen_text = true;
      continue;
    }
    const std::string name = piece.at("SpecialToken").text("id");
    for (const JsonNode& id : node.at("special_tokens").at(name).at("ids").items()) {
      (seen_text ? frame.after : frame.before).push_back(parse_id(id));
    }
  }
  if (!seen_text) node.refuse(ErrorCode::kUnsupported, "the template has no text in \"single\"");
  return frame;
}

/// ["</s>", 2]: a token and its id.
TokenId parse_named_id(const JsonNode& node) {
  const std::vector<JsonNode> items = node.items();
  if (items.size() != 2) node.refuse(ErrorCode::kCorrupt, "[token, id] is expected here");
  return parse_id(items[1]);
}

SpecialFrame parse_nested(const JsonNode& node, int depth);

SpecialFrame parse_sequence(const JsonNode& node, int depth) {
  node.limit_nesting(depth);
  SpecialFrame frame;
  for (const JsonNode& item : node.at("processors").items()) {
    const SpecialFrame outer = parse_nested(item, depth + 1);
    frame.before.insert(frame.before.begin(), outer.before.begin(), outer.before.end());
    frame.after.insert(frame.after.end(), outer.after.begin(), outer.after.end());
    if (frame.before.size() + frame.after.size() > kMaxTokens) {
      item.refuse(ErrorCode::kUnsupported, fmt::format("adds more than {} tokens", kMaxTokens));
    }
  }
  return frame;
}

SpecialFrame parse_nested(const JsonNode& node, int depth) {
  const std::string type = node.text("type");
  if (type == "ByteLevel") return {};  // only moves offsets, which Spate does not have
  if (type == "TemplateProcessing") return parse_template(node);
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    return {{parse_named_id(node.at("cls"))}, {parse_named_id(node.at("sep"))}};
  }
  if (type == "Sequence") return parse_sequence(node, depth);
  node.refuse(ErrorCode::kUnsupported, fmt::format("unknown post-processor '{}'", type));
}

}  // namespace

SpecialFrame parse_post_processor(const JsonNode& node) { return parse_nested(node, 0); }

}  // namespace spate
