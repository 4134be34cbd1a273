// The grammar of expressions. The grammar of statements is in parser.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chat/ast.h"
#include "chat/token_cursor.h"

namespace spate::chat {

/// Parser state, for one parse.
class ExpressionParser : public TokenCursor {
 public:
  ExpressionParser(std::vector<Token> tokens, Ast& ast)
      : TokenCursor(std::move(tokens)), ast_(ast) {}

  StringRep* take_name();

  // The grammar.
  Expr* expression();
  enum class Conditional : std::uint8_t { kAllowed, kNotAllowed };
  /// One expression, or a tuple if commas follow; stops before the name `end`.
  Expr* tuple(Conditional conditional, std::string_view end = {});
  /// A name, a tuple of targets, or (for set) namespace.attribute.
  Expr* target(bool with_namespace, std::string_view end = {});
  /// The filters behind `operand`; `inline_start` for a filter block, which starts with a name.
  Expr* filters(Expr* operand, bool inline_start);
  CallArguments call_arguments();

  // Context that statements keep.
  /// True where Jinja looks filters and tests up only when they run: inside `if`.
  bool soft = false;
  std::vector<Stmt*> open_statements{};
  std::vector<Stmt*> open_loops{};
  /// Throws if a filter or test that does not exist is used where it surely runs.
  void check_unknown() const;

 private:
  struct Unknown {
    std::string what{};
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };

  Expr* start(ExprKind kind, std::int64_t begin);
  Expr* finish(Expr* expr) const;
  Expr* binary(ExprKind kind, Operator op, Expr* left, Expr* right);
  Expr* disjunction();
  Expr* conjunction();
  Expr* negation();
  Expr* comparison();
  Expr* sum();
  Expr* concatenation();
  Expr* product();
  Expr* power();
  Expr* unary(bool with_filters);
  Expr* primary(bool with_namespace);
  Expr* name_expression(bool with_namespace);
  Expr* string_expression();
  Expr* parenthesized();
  Expr* list();
  Expr* dict();
  Expr* postfix(Expr* operand);
  Expr* filter_expression(Expr* operand);
  Expr* subscript(Expr* operand);
  Expr* bracket(Expr* operand);
  Expr* index_tuple(Expr* first);
  Expr* call(Expr* operand);
  Expr* test(Expr* operand);
  void one_argument(CallArguments& arguments);
  bool at_tuple_end(std::string_view end) const;
  bool at_test_argument() const;
  void note_use(std::string_view name);
  void note_unknown(const Expr& expr, std::string_view kind, const Token& token);
  std::string dotted_name();

  Ast& ast_;
  std::int32_t depth_ = 0;
  std::vector<Unknown> unknown_{};
};

}  // namespace spate::chat
