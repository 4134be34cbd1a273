// Walks the tree of one template for one render. Owns every value of the render; dies with it.
#pragma once

#include <ctime>
#include <string>

#include "chat/ast.h"
#include "chat/loop.h"
#include "chat/macro.h"
#include "chat/runtime.h"

namespace spate::chat {

class Interpreter : public Runtime {
 public:
  Interpreter(const Ast& ast, const ChatLimits& limits, const std::tm& now);

  /// A variable of the render; ignored if the template never mentions the name.
  void set_variable(std::string_view name, Value value);
  std::string run();

  Value call(const Value& callee, const Arguments& arguments) override;

 private:
  enum class Flow : std::uint8_t { kNext, kBreak, kContinue };
  struct Evaluated {
    std::vector<Value> positional{};
    std::vector<Pair> named{};
    Arguments view() const { return {.positional = positional, .named = named}; }
  };

  // Expressions (interpreter.cc).
  Value eval(const Expr& expr, Scope& scope);
  Value eval_kind(const Expr& expr, Scope& scope);
  Value eval_unary(const Expr& expr, Scope& scope);
  Value eval_logic(const Expr& expr, Scope& scope);
  Value eval_compare(const Expr& expr, Scope& scope);
  Value eval_concat(const Expr& expr, Scope& scope);
  Value eval_conditional(const Expr& expr, Scope& scope);
  Value eval_slice(const Expr& expr, Scope& scope);
  Value eval_list(const Expr& expr, Scope& scope);
  Value eval_dict(const Expr& expr, Scope& scope);
  Value eval_call(const Expr& expr, Scope& scope);
  Value eval_filter(const Expr& expr, const Value& input, Scope& scope);
  Value eval_filters_of_block(const Expr& expr, const Value& input, Scope& scope);
  Value eval_test(const Expr& expr, Scope& scope);
  Evaluated evaluate(const CallArguments& call, Scope& scope);

  // Statements (interpreter_statements.cc).
  Flow exec(const Body& body, Scope& scope, std::string& out);
  Flow exec_one(const Stmt& stmt, Scope& scope, std::string& out);
  Flow exec_if(const Stmt& stmt, Scope& scope, std::string& out);
  Flow exec_for(const Stmt& stmt, Scope& scope, std::string& out);
  Flow run_loop(const Stmt& stmt, Scope& outer, Loop& loop, std::string& out);
  Flow exec_set_block(const Stmt& stmt, Scope& scope, std::string& out);
  Flow exec_filter_block(const Stmt& stmt, Scope& scope, std::string& out);
  Flow exec_with(const Stmt& stmt, Scope& scope, std::string& out);
  void exec_call_block(const Stmt& stmt, Scope& scope, std::string& out);
  void start_loop(const Stmt& stmt, Scope& scope, Loop& loop, const Value& iterable);
  Value call_loop(Loop& loop, const Arguments& arguments);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  void bind_parameters(const Macro& macro, const Arguments& arguments, Scope& scope);
  void bind_extras(const Macro& macro, const Arguments& arguments, std::vector<Pair> rest,
                   Scope& scope);
  Value make_macro(const Stmt& stmt, Scope& scope);
  void assign(const Expr& target, const Value& value, Scope& scope);
  void append(std::string& out, std::string_view text);
  void append_value(std::string& out, const Value& v);

  // A scope below `parent`: on the caller's stack unless something may capture it.
  Scope& open_scope(const Stmt& stmt, Scope& parent, Scope& local);

  const Ast& ast_;
  const std::tm now_;
  const StringRep* loop_name_;
  const StringRep* caller_name_;
  Scope globals_{};
  Scope variables_{};
  Scope root_{};
};

}  // namespace spate::chat
