// What may follow an operand: attributes, indices, calls, filters, tests.
#include <array>

#include "chat/expression_parser.h"
#include "chat/filters.h"
#include "chat/tests.h"

namespace spate::chat {

Expr* ExpressionParser::postfix(Expr* operand) {
  while (true) {
    if (at_operator(".") || at_operator("[")) {
      operand = subscript(operand);
    } else if (at_operator("(")) {
      operand = call(operand);
    } else {
      return operand;
    }
  }
}

Expr* ExpressionParser::filter_expression(Expr* operand) {
  while (true) {
    if (at_operator("|")) {
      operand = filters(operand, false);
    } else if (at_name("is")) {
      operand = test(operand);
    } else if (at_operator("(")) {
      operand = call(operand);
    } else {
      return operand;
    }
  }
}

Expr* ExpressionParser::subscript(Expr* operand) {
  if (at_operator("[")) return bracket(operand);
  take();
  if (at(TokenKind::kName)) {
    Expr* expr = start(ExprKind::kAttribute, operand->begin);
    expr->name = take_name();
    expr->operands = {operand};
    return finish(expr);
  }
  if (!at(TokenKind::kInteger)) fail_here("expected a name or a number after '.'");
  Expr* expr = start(ExprKind::kItem, operand->begin);
  Expr* index = primary(false);
  expr->operands = {operand, index};
  return finish(expr);
}

Expr* ExpressionParser::bracket(Expr* operand) {
  take();
  Expr* expr = start(ExprKind::kItem, operand->begin);
  std::array<Expr*, 3> parts = {nullptr, nullptr, nullptr};
  const auto at_part_end = [&] { return at_operator(":") || at_operator("]"); };
  if (!at_part_end()) parts[0] = expression();
  if (!at_operator(":")) {
    Expr* index = parts[0] == nullptr || at_operator(",") ? index_tuple(parts[0]) : parts[0];
    expect_operator("]");
    expr->operands = {operand, index};
    return finish(expr);
  }
  for (std::size_t i = 1; i < parts.size() && skip_operator(":"); ++i) {
    if (!at_part_end()) parts[i] = expression();
  }
  expect_operator("]");
  expr->kind = ExprKind::kSlice;
  expr->operands = {operand, parts[0], parts[1], parts[2]};
  return finish(expr);
}

// a[] and a[i, j] index with a tuple; only dicts have such keys.
Expr* ExpressionParser::index_tuple(Expr* first) {
  Expr* expr = start(ExprKind::kTuple, current().begin);
  if (first != nullptr) expr->operands.push_back(first);
  while (skip_operator(",")) expr->operands.push_back(expression());
  return finish(expr);
}

Expr* ExpressionParser::call(Expr* operand) {
  Expr* expr = start(ExprKind::kCall, operand->begin);
  expr->operands = {operand};
  expr->call = call_arguments();
  return finish(expr);
}

CallArguments ExpressionParser::call_arguments() {
  CallArguments arguments;
  expect_operator("(");
  bool first = true;
  while (!at_operator(")")) {
    if (!first) {
      expect_operator(",");
      if (at_operator(")")) break;
    }
    first = false;
    one_argument(arguments);
  }
  expect_operator(")");
  return arguments;
}

void ExpressionParser::one_argument(CallArguments& arguments) {
  const bool starred = arguments.star != nullptr || arguments.star_star != nullptr;
  const auto in_order = [&](bool ok) {
    if (!ok)
      fail_here("the arguments of the call are out of order", "write positional, named, *, **");
  };
  if (skip_operator("*")) {
    in_order(!starred);
    arguments.star = expression();
  } else if (skip_operator("**")) {
    in_order(arguments.star_star == nullptr);
    arguments.star_star = expression();
  } else if (at(TokenKind::kName) && ahead().kind == TokenKind::kOperator && ahead().text == "=") {
    in_order(arguments.star_star == nullptr);
    StringRep* name = take_name();
    take();
    arguments.named.emplace_back(name, expression());
  } else {
    in_order(!starred && arguments.named.empty());
    arguments.positional.push_back(expression());
  }
}

std::string ExpressionParser::dotted_name() {
  std::string name = take_name()->text;
  while (skip_operator(".")) name += "." + take_name()->text;
  return name;
}

Expr* ExpressionParser::filters(Expr* operand, bool inline_start) {
  while (inline_start || at_operator("|")) {
    if (!inline_start) take();
    inline_start = false;
    const Token token = current();
    Expr* expr = start(ExprKind::kFilter, operand == nullptr ? token.begin : operand->begin);
    expr->name = ast_.intern(dotted_name());
    expr->filter = find_filter(expr->name->text);
    expr->operands = {operand};
    if (at_operator("(")) expr->call = call_arguments();
    operand = finish(expr);
    if (expr->filter == nullptr) note_unknown(*expr, "filter", token);
  }
  return operand;
}

bool ExpressionParser::at_test_argument() const {
  switch (current().kind) {
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    case TokenKind::kName:
      return !at_name("else") && !at_name("or") && !at_name("and");
    default:
      return at_operator("[") || at_operator("{");
  }
}

Expr* ExpressionParser::test(Expr* operand) {
  take();
  const bool negated = skip_name("not");
  const Token token = current();
  Expr* expr = start(ExprKind::kTest, operand->begin);
  expr->name = ast_.intern(dotted_name());
  expr->test = find_test(expr->name->text);
  expr->operands = {operand};
  if (at_operator("(")) {
    expr->call = call_arguments();
  } else if (at_test_argument()) {
    if (at_name("is")) fail_here("tests cannot be chained", "join them with 'and'");
    expr->call.positional.push_back(postfix(primary(false)));
  }
  expr = finish(expr);
  if (expr->test == nullptr) note_unknown(*expr, "test", token);
  if (!negated) return expr;
  Expr* inverse = start(ExprKind::kUnary, operand->begin);
  inverse->op = Operator::kNot;
  inverse->operands = {expr};
  return finish(inverse);
}

}  // namespace spate::chat
