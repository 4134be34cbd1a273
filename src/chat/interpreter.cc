#include "chat/interpreter.h"

#include "chat/filters.h"
#include "chat/functions.h"
#include "chat/methods.h"
#include "chat/operators.h"
#include "chat/tests.h"

namespace spate::chat {

Interpreter::Interpreter(const Ast& ast, const ChatLimits& limits, const std::tm& now)
    : Runtime(limits),
      ast_(ast),
      now_(now),
      loop_name_(ast.find_name("loop")),
      caller_name_(ast.find_name("caller")) {
  variables_.parent = &globals_;
  root_.parent = &variables_;
  for (const FunctionEntry& entry : global_functions()) {
    const StringRep* name = ast.find_name(entry.name);
    if (name == nullptr) continue;
    auto* function = heap.make<Function>();
    function->entry = &entry;
    globals_.set(name, Value::object(Kind::kFunction, function));
  }
}

void Interpreter::set_variable(std::string_view name, Value value) {
  const StringRep* known = ast_.find_name(name);
  if (known != nullptr) variables_.set(known, std::move(value));
}

std::string Interpreter::run() {
  std::string out;
  exec(ast_.body, root_, out);
  return out;
}

// Adds the place to a failure that has none yet: the innermost expression is the most telling one.
Value Interpreter::eval(const Expr& expr, Scope& scope) {
  try {
    const DepthScope level(*this);
    heap.work(1);
    return eval_kind(expr, scope);
  } catch (Failure& failure) {
    if (!failure.located) {
      failure.located = true;
      failure.begin = expr.begin;
      failure.end = expr.end;
    }
    throw;
  }
}

Value Interpreter::eval_kind(const Expr& expr, Scope& scope) {
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName: {
      const Value* found = scope.find(expr.name);
      return found == nullptr ? Value::undefined(expr.name) : *found;
    }
    case ExprKind::kAttribute:
      return get_attribute(*this, eval(*expr.operands[0], scope), Value::string(expr.name));
    case ExprKind::kItem: {
      const Value base = eval(*expr.operands[0], scope);
      return get_item(*this, base, eval(*expr.operands[1], scope));
    }
    case ExprKind::kSlice:
      return eval_slice(expr, scope);
    case ExprKind::kCall:
      return eval_call(expr, scope);
    case ExprKind::kFilter:
      return eval_filter(expr, eval(*expr.operands[0], scope), scope);
    case ExprKind::kTest:
      return eval_test(expr, scope);
    case ExprKind::kUnary:
      return eval_unary(expr, scope);
    case ExprKind::kBinary: {
      const Value left = eval(*expr.operands[0], scope);
      return binary(*this, expr.op, left, eval(*expr.operands[1], scope));
    }
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return eval_logic(expr, scope);
    case ExprKind::kCompare:
      return eval_compare(expr, scope);
    case ExprKind::kConcat:
      return eval_concat(expr, scope);
    case ExprKind::kConditional:
      return eval_conditional(expr, scope);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_list(expr, scope);
    case ExprKind::kDict:
      return eval_dict(expr, scope);
    case ExprKind::kNamespaceRef:
      break;
  }
  fail("a namespace attribute is only a target of set");
}

Value Interpreter::eval_unary(const Expr& expr, Scope& scope) {
  const Value v = eval(*expr.operands[0], scope);
  if (expr.op == Operator::kNot) return Value::boolean(!truthy(v));
  return expr.op == Operator::kNegate ? negate(v) : positive(v);
}

Value Interpreter::eval_logic(const Expr& expr, Scope& scope) {
  Value left = eval(*expr.operands[0], scope);
  const bool decided = truthy(left) == (expr.kind == ExprKind::kOr);
  return decided ? left : eval(*expr.operands[1], scope);
}

Value Interpreter::eval_compare(const Expr& expr, Scope& scope) {
  Value left = eval(*expr.operands[0], scope);
  for (std::size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = eval(*expr.operands[i + 1], scope);
    if (!compare(*this, expr.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::eval_concat(const Expr& expr, Scope& scope) {
  std::string out;
  for (const Expr* operand : expr.operands) {
    append_text(*this, out, eval(*operand, scope));
    heap.check_size(static_cast<double>(out.size()));
  }
  return heap.string(std::move(out));
}

Value Interpreter::eval_conditional(const Expr& expr, Scope& scope) {
  if (truthy(eval(*expr.operands[0], scope))) return eval(*expr.operands[1], scope);
  return expr.operands[2] == nullptr ? Value() : eval(*expr.operands[2], scope);
}

Value Interpreter::eval_slice(const Expr& expr, Scope& scope) {
  const Value base = eval(*expr.operands[0], scope);
  const auto part = [&](std::size_t i) {
    return expr.operands[i] == nullptr ? Value::none() : eval(*expr.operands[i], scope);
  };
  const SliceBounds bounds = {.start = part(1), .stop = part(2), .step = part(3)};
  return get_slice(*this, base, bounds);
}

Value Interpreter::eval_list(const Expr& expr, Scope& scope) {
  std::vector<Value> items;
  items.reserve(expr.operands.size());
  for (const Expr* operand : expr.operands) items.push_back(eval(*operand, scope));
  return heap.list(std::move(items),
                   expr.kind == ExprKind::kTuple ? SequenceKind::kTuple : SequenceKind::kList);
}

Value Interpreter::eval_dict(const Expr& expr, Scope& scope) {
  Dict* dict = heap.dict();
  for (std::size_t i = 0; i < expr.operands.size(); i += 2) {
    const Value key = eval(*expr.operands[i], scope);
    dict->set(key, eval(*expr.operands[i + 1], scope));
  }
  return Value::object(Kind::kDict, dict);
}

Interpreter::Evaluated Interpreter::evaluate(const CallArguments& call_arguments, Scope& scope) {
  Evaluated result;
  result.positional.reserve(call_arguments.positional.size());
  for (const Expr* argument : call_arguments.positional)
    result.positional.push_back(eval(*argument, scope));
  if (call_arguments.star != nullptr) {
    for (Value& item : iterate(*this, eval(*call_arguments.star, scope)))
      result.positional.push_back(std::move(item));
  }
  const auto add = [&](const Value& key, Value value) {
    if (!key.is_string()) fail("the keys of ** must be strings");
    for (const Pair& known : result.named) {
      if (known.key.text() == key.text()) fail("the argument '" + key.text() + "' is given twice");
    }
    heap.work(static_cast<std::int64_t>(result.named.size() / 8));
    result.named.push_back({key, std::move(value)});
  };
  for (const auto& [name, value] : call_arguments.named)
    add(Value::string(name), eval(*value, scope));
  if (call_arguments.star_star != nullptr) {
    const Value rest = eval(*call_arguments.star_star, scope);
    if (!rest.is(Kind::kDict)) fail_operand("**", rest);
    for (const Pair& entry : rest.dict().entries) add(entry.key, entry.value);
  }
  return result;
}

Value Interpreter::eval_call(const Expr& expr, Scope& scope) {
  const Expr& callee = *expr.operands[0];
  if (callee.kind != ExprKind::kAttribute) {
    const Value function = eval(callee, scope);
    return call(function, evaluate(expr.call, scope).view());
  }
  // A method that is called on the spot needs no object for itself.
  const Value base = eval(*callee.operands[0], scope);
  const MethodLookup method = find_method(base, callee.name->text);
  if (!method.allowed) {
    if (method.found)
      fail("'" + callee.name->text + "' is not allowed in templates", "build a new list with +");
    const Value function = get_attribute(*this, base, Value::string(callee.name));
    return call(function, evaluate(expr.call, scope).view());
  }
  const Evaluated arguments = evaluate(expr.call, scope);
  Method bound;
  bound.self = base;
  bound.entry = method.entry;
  return call_method(*this, Value::object(Kind::kMethod, &bound), arguments.view());
}

Value Interpreter::eval_filter(const Expr& expr, const Value& input, Scope& scope) {
  if (expr.filter == nullptr) fail("there is no filter '" + expr.name->text + "'");
  const Evaluated arguments = evaluate(expr.call, scope);
  return run_filter(*this, *expr.filter, input, arguments.view());
}

// The filters of a filter or set block: a chain whose innermost filter has the block as its input.
Value Interpreter::eval_filters_of_block(const Expr& expr, const Value& input, Scope& scope) {
  const bool innermost = expr.operands[0] == nullptr;
  return eval_filter(
      expr, innermost ? input : eval_filters_of_block(*expr.operands[0], input, scope), scope);
}

Value Interpreter::eval_test(const Expr& expr, Scope& scope) {
  if (expr.test == nullptr) fail("there is no test '" + expr.name->text + "'");
  const Value subject = eval(*expr.operands[0], scope);
  const Evaluated arguments = evaluate(expr.call, scope);
  return Value::boolean(run_test(*this, *expr.test, subject, arguments.view()));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  const DepthScope level(*this);
  switch (callee.kind()) {
    case Kind::kMacro:
      return call_macro(*static_cast<Macro*>(callee.object()), arguments);
    case Kind::kFunction:
      return static_cast<Function*>(callee.object())->entry->run(*this, now_, arguments);
    case Kind::kMethod:
      return call_method(*this, callee, arguments);
    case Kind::kLoop:
      return call_loop(*static_cast<Loop*>(callee.object()), arguments);
    case Kind::kJoiner: {
      auto& joiner = *static_cast<Joiner*>(callee.object());
      return std::exchange(joiner.used, true) ? joiner.separator : heap.string("");
    }
    case Kind::kUndefined:
      fail_undefined(callee);
    default:
      fail("a value of type " + std::string(type_name(callee)) + " cannot be called");
  }
}

}  // namespace spate::chat
