// From template text to tokens, with white space control resolved: trim_blocks and lstrip_blocks
// are on, as Hugging Face's environment has them. One pass, linear in the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spate::chat {

enum class TokenKind : std::uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::string text{};  // data, name, operator; a string literal with its escapes resolved
  std::int64_t integer = 0;
  double real = 0;
};

/// "\r\n" and "\r" become "\n", and one newline at the end is dropped, as Jinja does before lexing.
std::string normalize_newlines(std::string_view source);

/// Tokens of a normalized source, ended by one kEnd. Throws Failure.
std::vector<Token> tokenize(std::string_view source);

}  // namespace spate::chat
