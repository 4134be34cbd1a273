// Chat templates: from a conversation to the text a model was trained on. The language is Jinja2 in
// Hugging Face's environment, interpreted here; templates come from strangers, so they run within
// limits and can do nothing but make text.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "chat/limits.h"
#include "core/json.h"
#include "spate/result.h"

namespace spate {

namespace chat {
struct ParsedTemplate;
}

/// What a template sees. Aggregates as `apply_chat_template` passes them.
struct ChatInput {
  OrderedJson messages = OrderedJson::array();  // [{"role": ..., "content": ...}, ...]
  OrderedJson tools = nullptr;                  // null, or a list of JSON schemas
  bool add_generation_prompt = true;
  std::optional<std::string> bos_token = std::nullopt;
  std::optional<std::string> eos_token = std::nullopt;
  OrderedJson extra = OrderedJson::object();  // further variables: documents, enable_thinking, ...
  std::tm now = {};                           // the local time that strftime_now prints
};

/// A parsed template. Immutable: any number of threads may render it at once. Cheap to copy.
class ChatTemplate {
 public:
  /// An error names line, column and what is wrong there.
  static Result<ChatTemplate> parse(const std::string& source);

  /// The prompt. An error names line, column and expression; also when the template itself refuses
  /// the conversation (raise_exception) or a limit is reached.
  Result<std::string> render(const ChatInput& input, const ChatLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const chat::ParsedTemplate> parsed)
      : parsed_(std::move(parsed)) {}

  std::shared_ptr<const chat::ParsedTemplate> parsed_;
};

}  // namespace spate
