#include "chat/expression_parser.h"

#include <algorithm>
#include <array>
#include <optional>

#include "chat/parser.h"

namespace spate::chat {
namespace {

// Counts the nesting of one recursive rule and refuses what would exhaust the stack.
class DepthGuard {
 public:
  DepthGuard(std::int32_t& depth, const ExpressionParser& parser) : depth_(depth) {
    constexpr std::int32_t kRulesPerLevel = 3;
    if (++depth_ > kMaxDepth * kRulesPerLevel) {
      --depth_;
      parser.fail_here("the expression is nested too deeply", "split it with {% set %}");
    }
  }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
  ~DepthGuard() { --depth_; }

 private:
  std::int32_t& depth_;
};

struct OperatorName {
  std::string_view text;
  Operator op;
};

constexpr std::array<OperatorName, 6> kComparisons = {{{"==", Operator::kEqual},
                                                       {"!=", Operator::kNotEqual},
                                                       {"<", Operator::kLess},
                                                       {"<=", Operator::kLessEqual},
                                                       {">", Operator::kGreater},
                                                       {">=", Operator::kGreaterEqual}}};
constexpr std::array<OperatorName, 2> kSums = {{{"+", Operator::kAdd}, {"-", Operator::kSubtract}}};
constexpr std::array<OperatorName, 4> kProducts = {{{"*", Operator::kMultiply},
                                                    {"/", Operator::kDivide},
                                                    {"//", Operator::kFloorDivide},
                                                    {"%", Operator::kModulo}}};

template <std::size_t N>
std::optional<Operator> find_operator(const Token& token,
                                      const std::array<OperatorName, N>& table) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  for (const OperatorName& entry : table) {
    if (entry.text == token.text) return entry.op;
  }
  return std::nullopt;
}

void deepen(Expr& expr, const Expr* child) {
  if (child != nullptr) expr.depth = std::max(expr.depth, child->depth + 1);
}

}  // namespace

StringRep* ExpressionParser::take_name() {
  if (!at(TokenKind::kName)) fail_here("expected a name, found " + describe_token(current()));
  return ast_.intern(take().text);
}

Expr* ExpressionParser::start(ExprKind kind, std::int64_t begin) {
  Expr* expr = ast_.new_expr();
  expr->kind = kind;
  expr->begin = begin;
  return expr;
}

// Closes a node: its end, and its depth, which bounds every later walk over the tree.
Expr* ExpressionParser::finish(Expr* expr) const {
  expr->end = last_end();
  for (const Expr* operand : expr->operands) deepen(*expr, operand);
  for (const Expr* argument : expr->call.positional) deepen(*expr, argument);
  for (const auto& argument : expr->call.named) deepen(*expr, argument.second);
  deepen(*expr, expr->call.star);
  deepen(*expr, expr->call.star_star);
  if (expr->depth > kMaxDepth) {
    fail_here("the expression is nested too deeply, or chains too many operators",
              "split it with {% set %}, or join strings with ~");
  }
  return expr;
}

Expr* ExpressionParser::binary(ExprKind kind, Operator op, Expr* left, Expr* right) {
  Expr* expr = start(kind, left->begin);
  expr->op = op;
  expr->operands = {left, right};
  return finish(expr);
}

Expr* ExpressionParser::expression() {
  const DepthGuard guard(depth_, *this);
  const std::size_t unknown_before = unknown_.size();
  Expr* value = disjunction();
  while (skip_name("if")) {
    Expr* expr = start(ExprKind::kConditional, value->begin);
    Expr* condition = disjunction();
    Expr* otherwise = skip_name("else") ? expression() : nullptr;
    expr->operands = {condition, value, otherwise};
    value = finish(expr);
    unknown_.resize(unknown_before);
  }
  return value;
}

Expr* ExpressionParser::disjunction() {
  Expr* left = conjunction();
  while (skip_name("or")) left = binary(ExprKind::kOr, Operator::kNot, left, conjunction());
  return left;
}

Expr* ExpressionParser::conjunction() {
  Expr* left = negation();
  while (skip_name("and")) left = binary(ExprKind::kAnd, Operator::kNot, left, negation());
  return left;
}

Expr* ExpressionParser::negation() {
  if (!at_name("not")) return comparison();
  const DepthGuard guard(depth_, *this);
  Expr* expr = start(ExprKind::kUnary, take().begin);
  expr->op = Operator::kNot;
  expr->operands = {negation()};
  return finish(expr);
}

Expr* ExpressionParser::comparison() {
  Expr* first = sum();
  Expr* expr = nullptr;
  while (true) {
    std::optional<Operator> op = find_operator(current(), kComparisons);
    if (op) {
      take();
    } else if (skip_name("in")) {
      op = Operator::kIn;
    } else if (at_name("not") && ahead().kind == TokenKind::kName && ahead().text == "in") {
      take();
      take();
      op = Operator::kNotIn;
    } else {
      break;
    }
    if (expr == nullptr) {
      expr = start(ExprKind::kCompare, first->begin);
      expr->operands.push_back(first);
    }
    expr->operators.push_back(*op);
    expr->operands.push_back(sum());
  }
  return expr == nullptr ? first : finish(expr);
}

Expr* ExpressionParser::sum() {
  Expr* left = concatenation();
  while (const auto op = find_operator(current(), kSums)) {
    take();
    left = binary(ExprKind::kBinary, *op, left, concatenation());
  }
  return left;
}

Expr* ExpressionParser::concatenation() {
  Expr* first = product();
  if (!at_operator("~")) return first;
  Expr* expr = start(ExprKind::kConcat, first->begin);
  expr->operands.push_back(first);
  while (skip_operator("~")) expr->operands.push_back(product());
  return finish(expr);
}

Expr* ExpressionParser::product() {
  Expr* left = power();
  while (const auto op = find_operator(current(), kProducts)) {
    take();
    left = binary(ExprKind::kBinary, *op, left, power());
  }
  return left;
}

Expr* ExpressionParser::power() {
  Expr* left = unary(true);
  while (skip_operator("**")) left = binary(ExprKind::kBinary, Operator::kPower, left, unary(true));
  return left;
}

Expr* ExpressionParser::unary(bool with_filters) {
  const DepthGuard guard(depth_, *this);
  Expr* expr = nullptr;
  if (at_operator("-") || at_operator("+")) {
    const Operator op = at_operator("-") ? Operator::kNegate : Operator::kPlus;
    expr = start(ExprKind::kUnary, take().begin);
    expr->op = op;
    expr->operands = {unary(false)};
    expr = finish(expr);
  } else {
    expr = primary(false);
  }
  expr = postfix(expr);
  return with_filters ? filter_expression(expr) : expr;
}

Expr* ExpressionParser::primary(bool with_namespace) {
  switch (current().kind) {
    case TokenKind::kName:
      return name_expression(with_namespace);
    case TokenKind::kString:
      return string_expression();
    case TokenKind::kInteger:
    case TokenKind::kFloat: {
      Expr* expr = start(ExprKind::kConstant, current().begin);
      expr->constant = at(TokenKind::kInteger) ? Value::integer(current().integer)
                                               : Value::number(current().real);
      take();
      return finish(expr);
    }
    default:
      break;
  }
  if (at_operator("(")) return parenthesized();
  if (at_operator("[")) return list();
  if (at_operator("{")) return dict();
  fail_here("unexpected " + describe_token(current()), "an expression belongs here");
}

Expr* ExpressionParser::name_expression(bool with_namespace) {
  const Token& token = take();
  const std::string& text = token.text;
  Expr* expr = start(ExprKind::kConstant, token.begin);
  if (text == "true" || text == "True") {
    expr->constant = Value::boolean(true);
  } else if (text == "false" || text == "False") {
    expr->constant = Value::boolean(false);
  } else if (text == "none" || text == "None") {
    expr->constant = Value::none();
  } else {
    expr->kind = ExprKind::kName;
    expr->name = ast_.intern(text);
    note_use(text);
    if (with_namespace && skip_operator(".")) {
      expr->kind = ExprKind::kNamespaceRef;
      expr->attribute = take_name();
    }
  }
  return finish(expr);
}

Expr* ExpressionParser::string_expression() {
  Expr* expr = start(ExprKind::kConstant, current().begin);
  std::string text;
  while (at(TokenKind::kString)) text += take().text;
  expr->constant = Value::string(ast_.intern(text));
  return finish(expr);
}

Expr* ExpressionParser::parenthesized() {
  const std::int64_t begin = take().begin;
  Expr* inner = nullptr;
  if (at_operator(")")) {
    inner = finish(start(ExprKind::kTuple, begin));
  } else {
    inner = tuple(Conditional::kAllowed);
  }
  expect_operator(")");
  inner->begin = begin;  // errors quote the parentheses, too
  inner->end = last_end();
  return inner;
}

Expr* ExpressionParser::list() {
  Expr* expr = start(ExprKind::kList, take().begin);
  while (!at_operator("]")) {
    if (!expr->operands.empty()) expect_operator(",");
    if (at_operator("]")) break;
    expr->operands.push_back(expression());
  }
  expect_operator("]");
  return finish(expr);
}

Expr* ExpressionParser::dict() {
  Expr* expr = start(ExprKind::kDict, take().begin);
  while (!at_operator("}")) {
    if (!expr->operands.empty()) expect_operator(",");
    if (at_operator("}")) break;
    expr->operands.push_back(expression());
    expect_operator(":");
    expr->operands.push_back(expression());
  }
  expect_operator("}");
  return finish(expr);
}

bool ExpressionParser::at_tuple_end(std::string_view end) const {
  return at(TokenKind::kVariableEnd) || at(TokenKind::kBlockEnd) || at_operator(")") ||
         (!end.empty() && at_name(end));
}

Expr* ExpressionParser::tuple(Conditional conditional, std::string_view end) {
  const std::int64_t begin = current().begin;
  std::vector<Expr*> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    if (at_tuple_end(end)) break;
    items.push_back(conditional == Conditional::kAllowed ? expression() : disjunction());
    if (!at_operator(",")) break;
    is_tuple = true;
  }
  if (items.empty()) fail_here("expected an expression, found " + describe_token(current()));
  if (!is_tuple) return items[0];
  Expr* expr = start(ExprKind::kTuple, begin);
  expr->operands = std::move(items);
  return finish(expr);
}

Expr* ExpressionParser::target(bool with_namespace, std::string_view end) {
  const DepthGuard guard(depth_, *this);
  const std::int64_t begin = current().begin;
  std::vector<Expr*> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    if (at_tuple_end(end)) break;
    if (at_operator("(")) {
      take();
      items.push_back(target(with_namespace));
      expect_operator(")");
    } else {
      if (!at(TokenKind::kName))
        fail_here("cannot assign to " + describe_token(current()), "assign to a name");
      items.push_back(name_expression(with_namespace));
    }
    const bool assignable = items.back()->kind != ExprKind::kConstant;
    if (!assignable) fail_here("cannot assign to a constant", "assign to a name");
    if (!at_operator(",")) break;
    is_tuple = true;
  }
  if (items.empty()) fail_here("expected a name, found " + describe_token(current()));
  if (!is_tuple) return items[0];
  Expr* expr = start(ExprKind::kTuple, begin);
  expr->operands = std::move(items);
  return finish(expr);
}

// Macros and loops only build what their bodies mention.
void ExpressionParser::note_use(std::string_view name) {
  if (name == "loop" && !open_loops.empty()) open_loops.back()->uses_loop = true;
  for (Stmt* statement : open_statements) {
    if (name == "caller") statement->signature.uses_caller = true;
    if (name == "kwargs") statement->signature.uses_kwargs = true;
    if (name == "varargs") statement->signature.uses_varargs = true;
  }
}

void ExpressionParser::note_unknown(const Expr& expr, std::string_view kind, const Token& token) {
  if (soft) return;
  unknown_.push_back(
      {"there is no " + std::string(kind) + " '" + expr.name->text + "'", token.begin, token.end});
}

void ExpressionParser::check_unknown() const {
  if (unknown_.empty()) return;
  throw Failure{.message = unknown_[0].what,
                .remedy = "Spate knows the filters and tests of Jinja2",
                .located = true,
                .begin = unknown_[0].begin,
                .end = unknown_[0].end};
}

}  // namespace spate::chat
