// The parser's place in the tokens of a template, and its way of refusing what it finds there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/lexer.h"

namespace spate::chat {

/// For error messages: "'for'", "the end of the template".
std::string describe_token(const Token& token);

class TokenCursor {
 public:
  explicit TokenCursor(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[position_]; }
  const Token& ahead() const;
  const Token& take();
  bool at(TokenKind kind) const { return current().kind == kind; }
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  void expect(TokenKind kind, std::string_view what);
  void expect_operator(std::string_view text);
  void expect_name(std::string_view text);
  [[noreturn]] void fail_here(std::string message, std::string remedy = {}) const;
  std::int64_t last_end() const;

 private:
  std::vector<Token> tokens_;
  std::size_t position_ = 0;
};

}  // namespace spate::chat
