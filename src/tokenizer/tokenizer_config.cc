#include "tokenizer/tokenizer_config.h"

#include <charconv>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "core/json.h"
#include "core/load_error.h"
#include "tokenizer/json_node.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

constexpr std::int64_t kMaxFile = std::int64_t{64} << 20;

/// The text of a file of the folder; nothing where there is none.
std::optional<std::string> read_optional(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  Result<std::string> text = read_file(path, kMaxFile);
  if (!text) throw LoadError(text.error().code, text.error().message);
  return std::move(*text);
}

std::optional<Json> read_optional_json(const std::string& path) {
  const std::optional<std::string> text = read_optional(path);
  if (!text) return std::nullopt;
  Result<Json> json = parse_json(*text, path);
  if (!json) throw LoadError(json.error().code, json.error().message);
  if (!json->is_object()) {
    throw LoadError(ErrorCode::kCorrupt, fmt::format("{}: not a JSON object", path));
  }
  return std::move(*json);
}

/// A token is given by its text or by an object with flags.
std::optional<AddedToken> parse_token(const std::optional<JsonNode>& node) {
  if (!node) return std::nullopt;
  AddedToken token;
  token.special = true;
  token.normalized = false;
  if (node->json().is_string()) {
    token.content = node->text();
  } else {
    token.content = node->text("content");
    token.single_word = node->flag("single_word", false);
    token.lstrip = node->flag("lstrip", false);
    token.rstrip = node->flag("rstrip", false);
    token.normalized = node->flag("normalized", true);
  }
  return token;
}

void parse_added_tokens(const JsonNode& node, std::vector<AddedToken>& tokens) {
  for (const auto& [key, value] : node.members()) {
    std::int64_t id = -1;
    const auto end = key.data() + key.size();
    if (std::from_chars(key.data(), end, id).ptr != end || id < 0 || id >= Vocab::kMaxIds) {
      value.refuse(ErrorCode::kCorrupt, "the key is not a token id");
    }
    AddedToken token = *parse_token(value);
    token.id = static_cast<TokenId>(id);
    token.special = value.json().is_object() && value.flag("special", false);
    tokens.push_back(std::move(token));
  }
}

/// A template, or a list of named ones, of which "default" counts.
std::string parse_chat_template(const JsonNode& node) {
  if (node.json().is_string()) return node.text();
  const std::vector<JsonNode> items = node.items();
  std::string first;
  for (const JsonNode& item : items) {
    std::string text = item.text("template");
    if (item.text("name", "") == "default") return text;
    if (first.empty()) first = std::move(text);
  }
  return first;
}

std::optional<bool> parse_flag(const JsonNode& node, std::string_view key) {
  if (!node.find(key)) return std::nullopt;
  return node.flag(key, false);
}

void parse_names(const JsonNode& node, TokenizerConfig& config) {
  const auto name = [&](std::string_view key, std::optional<AddedToken>& token) {
    if (!token) token = parse_token(node.find(key));
  };
  name("bos_token", config.bos);
  name("eos_token", config.eos);
  name("unk_token", config.unk);
  name("pad_token", config.pad);
}

void parse_config(const JsonNode& node, TokenizerConfig& config) {
  config.tokenizer_class = node.text("tokenizer_class", "");
  config.add_bos = parse_flag(node, "add_bos_token");
  config.add_eos = parse_flag(node, "add_eos_token");
  config.add_prefix_space = parse_flag(node, "add_prefix_space");
  config.legacy = parse_flag(node, "legacy");
  parse_names(node, config);
  if (const auto tokens = node.find("added_tokens_decoder")) {
    parse_added_tokens(*tokens, config.added_tokens);
  }
  if (const auto text = node.find("chat_template")) {
    config.chat_template = parse_chat_template(*text);
  }
}

void add_token(AddedToken token, TokenizerParts& parts) {
  // A new text must not take the id of another token.
  const bool known = parts.find(token.content).has_value();
  if (!known && parts.text(token.id)) {
    token.id = static_cast<TokenId>(
        std::max(parts.model->vocab().id_limit(), parts.added_tokens.id_limit()));
  }
  parts.added_tokens.add(std::move(token), parts.model->vocab());
}

/// Named tokens are special; one that exists keeps its other flags.
std::optional<TokenId> name_token(const std::optional<AddedToken>& named, TokenizerParts& parts) {
  if (!named || named->content.empty()) return std::nullopt;
  const std::optional<TokenId> id = parts.find(named->content);
  const AddedToken* existing = id ? parts.added_tokens.find(*id) : nullptr;
  AddedToken token = existing != nullptr ? *existing : *named;
  token.special = true;
  if (!id) token.id = 0;  // taken or not: add_token finds a free one
  add_token(std::move(token), parts);
  return parts.find(named->content);
}

}  // namespace

TokenizerConfig read_tokenizer_config(const std::string& folder) {
  TokenizerConfig config;
  const std::string path = folder + "/tokenizer_config.json";
  if (const auto json = read_optional_json(path)) parse_config(JsonNode(*json, path), config);
  const std::string names = folder + "/special_tokens_map.json";
  if (const auto json = read_optional_json(names)) parse_names(JsonNode(*json, names), config);
  const std::string other = folder + "/chat_template.json";
  if (const auto json = read_optional_json(other)) {
    config.chat_template = JsonNode(*json, other).text("chat_template", config.chat_template);
  }
  if (auto text = read_optional(folder + "/chat_template.jinja")) {
    config.chat_template = *std::move(text);
  }
  return config;
}

void apply_tokenizer_config(const TokenizerConfig& config, TokenizerParts& parts) {
  for (const AddedToken& token : config.added_tokens) add_token(token, parts);
  const auto name = [&](const std::optional<AddedToken>& named, std::optional<TokenId>& id) {
    if (const std::optional<TokenId> found = name_token(named, parts)) id = found;
  };
  name(config.bos, parts.bos);
  name(config.eos, parts.eos);
  name(config.unk, parts.unk);
  name(config.pad, parts.pad);
  if (!config.chat_template.empty()) parts.chat_template = config.chat_template;
}

SpecialFrame make_frame(const TokenizerParts& parts, bool add_bos, bool add_eos) {
  SpecialFrame frame;
  if (add_bos && parts.bos) frame.before.push_back(*parts.bos);
  if (add_eos && parts.eos) frame.after.push_back(*parts.eos);
  return frame;
}

}  // namespace spate
