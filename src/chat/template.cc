#include "chat/template.h"

#include <algorithm>
#include <string_view>

#include "chat/interpreter.h"
#include "chat/json_text.h"
#include "chat/lexer.h"
#include "chat/parser.h"
#include "chat/text.h"

namespace spate {
namespace chat {

struct ParsedTemplate {
  std::string source;  // normalized; what offsets refer to
  Ast ast{};
};

namespace {

constexpr std::size_t kMaxSourceBytes = 1'000'000;  // the largest published ones have some 20 kB
constexpr std::size_t kMaxQuotedBytes = 80;

// "chat template, line 3, column 5: MESSAGE, in `EXPRESSION`; REMEDY"
Error to_error(const Failure& failure, std::string_view source) {
  Error error{.code = failure.code, .message = "chat template"};
  if (failure.located) {
    const std::size_t begin = std::min(static_cast<std::size_t>(failure.begin), source.size());
    const std::string_view before = source.substr(0, begin);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t newline = before.rfind('\n');
    const std::string_view same_line =
        newline == std::string_view::npos ? before : before.substr(newline + 1);
    error.message += ", line " + std::to_string(line) + ", column " +
                     std::to_string(count_code_points(same_line) + 1);
  }
  error.message += ": " + failure.message;
  if (failure.located && failure.end > failure.begin) {
    std::string quoted(
        source.substr(std::min(static_cast<std::size_t>(failure.begin), source.size()),
                      static_cast<std::size_t>(failure.end - failure.begin)));
    if (quoted.size() > kMaxQuotedBytes) quoted = quoted.substr(0, kMaxQuotedBytes) + "...";
    if (!quoted.empty()) error.message += ", in `" + quoted + "`";
  }
  if (!failure.remedy.empty()) error.message += "; " + failure.remedy;
  return error;
}

void set_variables(Interpreter& interpreter, const ChatInput& input) {
  const auto set = [&](std::string_view name, const OrderedJson& json) {
    interpreter.set_variable(name, from_json(interpreter, json));
  };
  set("messages", input.messages);
  set("tools", input.tools);
  set("documents", nullptr);
  set("add_generation_prompt", input.add_generation_prompt);
  if (input.bos_token) set("bos_token", *input.bos_token);
  if (input.eos_token) set("eos_token", *input.eos_token);
  for (const auto& [name, value] : input.extra.items()) set(name, value);
}

}  // namespace
}  // namespace chat

Result<ChatTemplate> ChatTemplate::parse(const std::string& source) {
  if (source.size() > chat::kMaxSourceBytes) {
    return Error{ErrorCode::kInvalidArgument,
                 "chat template: " + std::to_string(source.size()) +
                     " bytes are more than the 1000000 allowed; is this the right file?"};
  }
  auto parsed = std::make_shared<chat::ParsedTemplate>();
  parsed->source = chat::normalize_newlines(source);
  try {
    chat::parse_template(parsed->source, parsed->ast);
  } catch (const chat::Failure& failure) {
    return chat::to_error(failure, parsed->source);
  }
  return ChatTemplate(std::move(parsed));
}

Result<std::string> ChatTemplate::render(const ChatInput& input, const ChatLimits& limits) const {
  if (!input.extra.is_object()) {
    return Error{ErrorCode::kInvalidArgument,
                 "chat input: extra must be an object of variables, not " +
                     std::string(input.extra.type_name())};
  }
  chat::Interpreter interpreter(parsed_->ast, limits, input.now);
  try {
    chat::set_variables(interpreter, input);
    return interpreter.run();
  } catch (const chat::Failure& failure) {
    return chat::to_error(failure, parsed_->source);
  }
}

}  // namespace spate
