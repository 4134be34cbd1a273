#include "chat/token_cursor.h"

#include <algorithm>

#include "chat/failure.h"

namespace spate::chat {

std::string describe_token(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "a number";
    default:
      return "'" + token.text + "'";
  }
}

const Token& TokenCursor::ahead() const {
  return tokens_[std::min(position_ + 1, tokens_.size() - 1)];
}

const Token& TokenCursor::take() {
  const Token& token = tokens_[position_];
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool TokenCursor::at_operator(std::string_view text) const {
  return at(TokenKind::kOperator) && current().text == text;
}

bool TokenCursor::at_name(std::string_view text) const {
  return at(TokenKind::kName) && current().text == text;
}

bool TokenCursor::skip_operator(std::string_view text) {
  const bool found = at_operator(text);
  if (found) take();
  return found;
}

bool TokenCursor::skip_name(std::string_view text) {
  const bool found = at_name(text);
  if (found) take();
  return found;
}

void TokenCursor::expect(TokenKind kind, std::string_view what) {
  if (!at(kind))
    fail_here("expected " + std::string(what) + ", found " + describe_token(current()));
  take();
}

void TokenCursor::expect_operator(std::string_view text) {
  if (!skip_operator(text)) {
    fail_here("expected '" + std::string(text) + "', found " + describe_token(current()));
  }
}

void TokenCursor::expect_name(std::string_view text) {
  if (!skip_name(text)) {
    fail_here("expected '" + std::string(text) + "', found " + describe_token(current()));
  }
}

void TokenCursor::fail_here(std::string message, std::string remedy) const {
  const Token& token = current();
  throw Failure{.message = std::move(message),
                .remedy = std::move(remedy),
                .located = true,
                .begin = token.begin,
                .end = token.end};
}

std::int64_t TokenCursor::last_end() const {
  return position_ == 0 ? 0 : tokens_[position_ - 1].end;
}

}  // namespace spate::chat
