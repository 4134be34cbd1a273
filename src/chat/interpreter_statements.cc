// The statements of interpreter.h: text, loops, assignments, macros.
#include <algorithm>

#include "chat/filters.h"
#include "chat/functions.h"
#include "chat/interpreter.h"
#include "chat/operators.h"

namespace spate::chat {

Scope& Interpreter::open_scope(const Stmt& stmt, Scope& parent, Scope& local) {
  Scope& scope = stmt.captures ? *heap.make<Scope>() : local;
  scope.parent = &parent;
  return scope;
}

void Interpreter::append(std::string& out, std::string_view text) {
  const auto size = static_cast<std::int64_t>(out.size() + text.size());
  if (size > heap.limits().max_output_bytes) {
    fail("the output would be larger than " + std::to_string(heap.limits().max_output_bytes) +
             " bytes",
         "shorten the conversation, or raise ChatLimits::max_output_bytes");
  }
  heap.work_bytes(text.size());
  out += text;
}

void Interpreter::append_value(std::string& out, const Value& v) {
  if (v.is_string()) return append(out, v.text());
  std::string text;
  append_text(*this, text, v);
  append(out, text);
}

Interpreter::Flow Interpreter::exec(const Body& body, Scope& scope, std::string& out) {
  const DepthScope level(*this);
  for (const Stmt* stmt : body) {
    heap.work(1);
    const Flow flow = exec_one(*stmt, scope, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_one(const Stmt& stmt, Scope& scope, std::string& out) {
  Scope local;
  switch (stmt.kind) {
    case StmtKind::kText:
      append(out, stmt.text);
      break;
    case StmtKind::kOutput:
      append_value(out, eval(*stmt.value, scope));
      break;
    case StmtKind::kFor:
      return exec_for(stmt, scope, out);
    case StmtKind::kIf:
      return exec_if(stmt, scope, out);
    case StmtKind::kSet:
      assign(*stmt.target, eval(*stmt.value, scope), scope);
      break;
    case StmtKind::kSetBlock:
      return exec_set_block(stmt, scope, out);
    case StmtKind::kMacro:
      scope.set(stmt.name, make_macro(stmt, scope));
      break;
    case StmtKind::kCallBlock:
      exec_call_block(stmt, scope, out);
      break;
    case StmtKind::kFilterBlock:
      return exec_filter_block(stmt, scope, out);
    case StmtKind::kWith:
      return exec_with(stmt, scope, out);
    case StmtKind::kBlock:
      return exec(stmt.body, open_scope(stmt, root_, local), out);
    case StmtKind::kGeneration:
      return exec(stmt.body, open_scope(stmt, scope, local), out);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_if(const Stmt& stmt, Scope& scope, std::string& out) {
  for (const Branch& branch : stmt.branches) {
    if (branch.test == nullptr || truthy(eval(*branch.test, scope)))
      return exec(branch.body, scope, out);
  }
  return Flow::kNext;
}

void Interpreter::start_loop(const Stmt& stmt, Scope& scope, Loop& loop, const Value& iterable) {
  try {
    loop.items = iterate(*this, iterable);
  } catch (Failure& failure) {
    if (!failure.located) {
      failure.located = true;
      failure.begin = stmt.value->begin;
      failure.end = stmt.value->end;
    }
    throw;
  }
  const bool iterator =
      iterable.is(Kind::kSequence) && iterable.sequence().kind == SequenceKind::kIterator;
  loop.sized = !iterator && stmt.condition == nullptr;
  loop.outer = &scope;
  if (stmt.recursive) loop.recursive = &stmt;
  if (stmt.condition == nullptr) return;
  loop.keep = [this, &stmt, &scope](const Value& item) {
    Scope local;
    Scope& test_scope = open_scope(stmt, scope, local);
    assign(*stmt.target, item, test_scope);
    return truthy(eval(*stmt.condition, test_scope));
  };
}

Interpreter::Flow Interpreter::exec_for(const Stmt& stmt, Scope& scope, std::string& out) {
  const Value iterable = eval(*stmt.value, scope);
  Loop local;
  Loop& loop = stmt.uses_loop ? *heap.make<Loop>() : local;
  start_loop(stmt, scope, loop, iterable);
  return run_loop(stmt, scope, loop, out);
}

// `break` and `continue` end here; nothing leaves a loop but kNext.
Interpreter::Flow Interpreter::run_loop(const Stmt& stmt, Scope& outer, Loop& loop,
                                        std::string& out) {
  Scope local;
  Scope& scope = open_scope(stmt, outer, local);
  Flow flow = Flow::kNext;
  bool completed = false;  // Jinja's else also follows a loop that every iteration left early
  while (flow != Flow::kBreak && loop.advance()) {
    heap.work(1);
    scope.variables.clear();
    assign(*stmt.target, *loop.current, scope);
    if (stmt.uses_loop) scope.set(loop_name_, Value::object(Kind::kLoop, &loop));
    flow = exec(stmt.body, scope, out);
    completed = completed || flow == Flow::kNext;
  }
  // The condition refers to scopes that end now; the loop object may live on in a namespace.
  loop.keep = nullptr;
  loop.outer = nullptr;
  loop.recursive = nullptr;
  if (completed || stmt.otherwise.empty()) return Flow::kNext;
  Scope else_local;
  return exec(stmt.otherwise, open_scope(stmt, outer, else_local), out);
}

Value Interpreter::call_loop(Loop& loop, const Arguments& arguments) {
  if (loop.recursive == nullptr)
    fail("this loop is not recursive", "write {% for ... recursive %}");
  const Bound bound("loop", arguments, {"iterable"}, 1);
  const Stmt& stmt = *loop.recursive;
  Scope& outer = *loop.outer;
  auto* inner = heap.make<Loop>();
  inner->depth0 = loop.depth0 + 1;
  start_loop(stmt, outer, *inner, bound.at(0));
  std::string out;
  run_loop(stmt, outer, *inner, out);
  return heap.string(std::move(out));
}

Interpreter::Flow Interpreter::exec_set_block(const Stmt& stmt, Scope& scope,
                                              std::string& /*out*/) {
  Scope local;
  std::string text;
  const Flow flow = exec(stmt.body, open_scope(stmt, scope, local), text);
  if (flow != Flow::kNext) return flow;
  Value value = heap.string(std::move(text));
  if (stmt.value != nullptr) value = eval_filters_of_block(*stmt.value, value, scope);
  assign(*stmt.target, value, scope);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_filter_block(const Stmt& stmt, Scope& scope, std::string& out) {
  Scope local;
  std::string text;
  const Flow flow = exec(stmt.body, open_scope(stmt, scope, local), text);
  if (flow != Flow::kNext) return flow;
  append_value(out, eval_filters_of_block(*stmt.value, heap.string(std::move(text)), scope));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_with(const Stmt& stmt, Scope& scope, std::string& out) {
  Scope local;
  Scope& inner = open_scope(stmt, scope, local);
  std::vector<Value> values;
  for (const auto& [target, value] : stmt.bindings) values.push_back(eval(*value, scope));
  for (std::size_t i = 0; i < values.size(); ++i) assign(*stmt.bindings[i].first, values[i], inner);
  return exec(stmt.body, inner, out);
}

Value Interpreter::make_macro(const Stmt& stmt, Scope& scope) {
  auto* macro = heap.make<Macro>();
  macro->definition = &stmt;
  macro->scope = &scope;
  return Value::object(Kind::kMacro, macro);
}

void Interpreter::exec_call_block(const Stmt& stmt, Scope& scope, std::string& out) {
  const Expr& call_expr = *stmt.value;
  const Value callee = eval(*call_expr.operands[0], scope);
  Evaluated arguments = evaluate(call_expr.call, scope);
  arguments.named.push_back({heap.string("caller"), make_macro(stmt, scope)});
  append_value(out, call(callee, arguments.view()));
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  Scope local;
  Scope& scope = open_scope(*macro.definition, *macro.scope, local);
  bind_parameters(macro, arguments, scope);
  std::string out;
  exec(macro.definition->body, scope, out);
  return heap.string(std::move(out));
}

void Interpreter::bind_parameters(const Macro& macro, const Arguments& arguments, Scope& scope) {
  const Signature& signature = macro.definition->signature;
  const std::size_t n_required = signature.names.size() - signature.defaults.size();
  std::vector<Pair> rest(arguments.named.begin(), arguments.named.end());
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < signature.names.size(); ++i) {
    StringRep* name = signature.names[i];
    if (i < arguments.positional.size()) {
      scope.set(name, arguments.positional[i]);
      continue;
    }
    const auto named = std::find_if(rest.begin(), rest.end(),
                                    [&](const Pair& p) { return p.key.text() == name->text; });
    if (named == rest.end()) {
      scope.set(name, Value::undefined(name));
      missing.push_back(i);
    } else {
      scope.set(name, named->value);
      rest.erase(named);
    }
  }
  bind_extras(macro, arguments, std::move(rest), scope);
  // Defaults see the parameters before them.
  for (std::size_t i : missing) {
    if (i >= n_required)
      scope.set(signature.names[i], eval(*signature.defaults[i - n_required], scope));
  }
}

// caller, kwargs and varargs exist only in macros that mention them; elsewhere extra arguments are
// errors.
void Interpreter::bind_extras(const Macro& macro, const Arguments& arguments,
                              std::vector<Pair> rest, Scope& scope) {
  const Signature& signature = macro.definition->signature;
  const StringRep* definition_name = macro.definition->name;
  const std::string name = definition_name == nullptr ? "caller" : definition_name->text;
  const bool explicit_caller = std::find(signature.names.begin(), signature.names.end(),
                                         caller_name_) != signature.names.end();
  if (signature.uses_caller && !explicit_caller) {
    const auto at = std::find_if(rest.begin(), rest.end(),
                                 [](const Pair& p) { return p.key.text() == "caller"; });
    scope.set(caller_name_, at == rest.end() ? Value::undefined(heap.string("caller")) : at->value);
    if (at != rest.end()) rest.erase(at);
  }
  if (signature.uses_kwargs) {
    Dict* kwargs = heap.dict();
    for (const Pair& argument : rest) kwargs->set(argument.key, argument.value);
    scope.set(ast_.find_name("kwargs"), Value::object(Kind::kDict, kwargs));
  } else if (!rest.empty()) {
    fail("the macro '" + name + "' has no parameter '" + rest[0].key.text() + "'");
  }
  const std::size_t n = signature.names.size();
  const std::span<const Value> given = arguments.positional;
  if (signature.uses_varargs) {
    std::vector<Value> extra;
    if (given.size() > n) extra.assign(given.begin() + static_cast<std::ptrdiff_t>(n), given.end());
    scope.set(ast_.find_name("varargs"), heap.list(std::move(extra), SequenceKind::kTuple));
  } else if (given.size() > n) {
    fail("the macro '" + name + "' takes at most " + std::to_string(n) + " arguments");
  }
}

void Interpreter::assign(const Expr& target, const Value& value, Scope& scope) {
  if (target.kind == ExprKind::kName) {
    scope.set(target.name, value);
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) {
    const Value* found = scope.find(target.name);
    if (found == nullptr || !found->is(Kind::kNamespace)) {
      throw Failure{.message = "'" + target.name->text + "' is not a namespace",
                    .remedy = "create it with namespace()",
                    .located = true,
                    .begin = target.begin,
                    .end = target.end};
    }
    set_namespace(*this, *static_cast<Namespace*>(found->object()), Value::string(target.attribute),
                  value);
    return;
  }
  const std::vector<Value> items = iterate(*this, value);
  if (items.size() != target.operands.size()) {
    throw Failure{.message = "cannot unpack " + std::to_string(items.size()) + " values into " +
                             std::to_string(target.operands.size()) + " names",
                  .remedy = "name as many variables as there are values",
                  .located = true,
                  .begin = target.begin,
                  .end = target.end};
  }
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.operands[i], items[i], scope);
}

}  // namespace spate::chat
