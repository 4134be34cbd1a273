#include "chat/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>

#include "chat/expression_parser.h"

namespace spate::chat {
namespace {

using Ends = std::initializer_list<std::string_view>;

constexpr std::array<std::string_view, 7> kRefused = {"include",    "import", "from", "extends",
                                                      "autoescape", "trans",  "do"};

class Parser {
 public:
  Parser(std::string_view source, Ast& ast) : ast_(ast), in_(tokenize(source), ast) {}

  void run() {
    ast_.body = statements({});
    in_.check_unknown();
  }

 private:
  // Statements until a block that starts with one of `ends`, whose name is the current token then.
  Body statements(Ends ends) {
    if (++depth_ > kMaxDepth) in_.fail_here("blocks are nested too deeply", "use a macro");
    Body body;
    while (!in_.at(TokenKind::kEnd)) {
      if (in_.at(TokenKind::kData)) {
        text(body);
        continue;
      }
      if (in_.at(TokenKind::kVariableBegin)) {
        output(body);
        continue;
      }
      in_.expect(TokenKind::kBlockBegin, "a block");
      if (at_one_of(ends)) {
        --depth_;
        return body;
      }
      body.push_back(statement());
      in_.expect(TokenKind::kBlockEnd, "'%}'");
    }
    if (ends.size() != 0) {
      in_.fail_here("the template ends inside a block",
                    "add '{% " + std::string(*(ends.end() - 1)) + " %}'");
    }
    --depth_;
    return body;
  }

  bool at_one_of(Ends ends) const {
    return std::any_of(ends.begin(), ends.end(), [&](auto end) { return in_.at_name(end); });
  }

  // The rest of an opening tag, then its body.
  Body block_body(Ends ends) {
    in_.skip_operator(":");
    in_.expect(TokenKind::kBlockEnd, "'%}'");
    return statements(ends);
  }

  Body last_body(std::string_view end) {
    Body body = block_body({end});
    in_.take();
    return body;
  }

  Stmt* start(StmtKind kind) {
    Stmt* s = ast_.new_stmt();
    s->kind = kind;
    s->begin = in_.current().begin;
    return s;
  }

  void text(Body& body) {
    Stmt* s = start(StmtKind::kText);
    s->text = in_.take().text;
    body.push_back(s);
  }

  void output(Body& body) {
    Stmt* s = start(StmtKind::kOutput);
    in_.take();
    s->value = in_.tuple(ExpressionParser::Conditional::kAllowed);
    in_.expect(TokenKind::kVariableEnd, "'}}'");
    body.push_back(s);
  }

  Stmt* statement() {
    if (!in_.at(TokenKind::kName)) in_.fail_here("a tag must start with a name");
    const std::string name = in_.current().text;
    if (name == "if") return if_statement();
    if (name == "set") return set_statement();
    if (name == "break" || name == "continue") return jump(name);
    if (name == "print") return print_statement();
    return scoped_statement(name);
  }

  // Statements with a scope of their own. Inside, Jinja checks filters at once again.
  Stmt* scoped_statement(const std::string& name) {
    const bool soft = in_.soft;
    Stmt* s = nullptr;
    if (name == "for") s = for_statement();
    if (name == "macro") s = macro_statement();
    if (name == "call") s = call_statement();
    if (name == "filter") s = filter_statement();
    if (name == "with") s = with_statement();
    if (name == "block") s = block_statement();
    if (name == "generation") s = generation_statement();
    in_.soft = soft;
    if (s != nullptr) return s;
    if (std::find(kRefused.begin(), kRefused.end(), name) != kRefused.end()) {
      throw Failure{.message = "the tag '" + name + "' is not supported in chat templates",
                    .remedy = "inline what it brings in",
                    .code = ErrorCode::kUnsupported,
                    .located = true,
                    .begin = in_.current().begin,
                    .end = in_.current().end};
    }
    in_.fail_here("unknown tag '" + name + "'",
                  "is a block closed twice, or closed by the wrong name?");
  }

  Stmt* if_statement() {
    Stmt* s = start(StmtKind::kIf);
    const bool soft = in_.soft;
    in_.soft = true;
    in_.take();
    bool more = true;
    while (more) {
      Branch branch;
      branch.test = in_.tuple(ExpressionParser::Conditional::kNotAllowed);
      branch.body = block_body({"elif", "else", "endif"});
      s->branches.push_back(std::move(branch));
      more = in_.at_name("elif");
      if (in_.take().text == "else") s->branches.push_back({nullptr, last_body("endif")});
    }
    in_.soft = soft;
    s->end = in_.last_end();
    return s;
  }

  // Everything inside an open statement can mark it: what it uses, and whether it is captured.
  template <class F>
  void inside(Stmt* s, F parse) {
    in_.soft = false;
    in_.open_statements.push_back(s);
    parse();
    in_.open_statements.pop_back();
    s->end = in_.last_end();
  }

  void mark_captured() {
    for (Stmt* s : in_.open_statements) s->captures = true;
  }

  Stmt* for_statement() {
    Stmt* s = start(StmtKind::kFor);
    in_.take();
    s->target = in_.target(false, "in");
    in_.expect_name("in");
    s->value = in_.tuple(ExpressionParser::Conditional::kNotAllowed, "recursive");
    refuse_loop_target(*s->target);
    inside(s, [&] {
      if (in_.skip_name("if")) s->condition = in_.expression();
      s->recursive = in_.skip_name("recursive");
      in_.open_loops.push_back(s);
      s->body = block_body({"endfor", "else"});
      in_.open_loops.pop_back();
      if (in_.take().text == "else") s->otherwise = last_body("endfor");
    });
    return s;
  }

  void refuse_loop_target(const Expr& target) const {
    if (target.kind == ExprKind::kName && target.name->text == "loop") {
      in_.fail_here("a loop cannot assign to 'loop'", "choose another name");
    }
    for (const Expr* part : target.operands) refuse_loop_target(*part);
  }

  Stmt* jump(const std::string& name) {
    if (in_.open_loops.empty()) in_.fail_here("'" + name + "' outside a loop");
    Stmt* s = start(name == "break" ? StmtKind::kBreak : StmtKind::kContinue);
    in_.take();
    return s;
  }

  Stmt* set_statement() {
    Stmt* s = start(StmtKind::kSet);
    in_.take();
    s->target = in_.target(true);
    if (in_.skip_operator("=")) {
      s->value = in_.tuple(ExpressionParser::Conditional::kAllowed);
      s->end = in_.last_end();
      return s;
    }
    s->kind = StmtKind::kSetBlock;
    const bool soft = in_.soft;
    s->value = in_.filters(nullptr, false);
    inside(s, [&] { s->body = last_body("endset"); });
    in_.soft = soft;
    return s;
  }

  Stmt* print_statement() {
    Stmt* s = start(StmtKind::kOutput);
    in_.take();
    s->value = in_.expression();
    return s;
  }

  void signature(Stmt* s) {
    in_.expect_operator("(");
    Signature& signature = s->signature;
    std::set<StringRep*> seen;
    while (!in_.at_operator(")")) {
      if (!signature.names.empty()) in_.expect_operator(",");
      StringRep* name = in_.take_name();
      if (!seen.insert(name).second)
        in_.fail_here("the parameter '" + name->text + "' occurs twice");
      signature.names.push_back(name);
      if (in_.skip_operator("=")) {
        signature.defaults.push_back(in_.expression());
      } else if (!signature.defaults.empty()) {
        in_.fail_here("a parameter without a default follows one with a default");
      }
    }
    in_.expect_operator(")");
  }

  // A macro's body may not jump out of a loop around the macro.
  void callable_body(Stmt* s, std::string_view end) {
    mark_captured();
    std::vector<Stmt*> loops;
    loops.swap(in_.open_loops);
    for (Stmt* loop : loops) loop->uses_loop = true;  // the body may mention it
    inside(s, [&] { s->body = last_body(end); });
    loops.swap(in_.open_loops);
    const auto& names = s->signature.names;
    const auto caller = std::find_if(names.begin(), names.end(),
                                     [](const StringRep* name) { return name->text == "caller"; });
    const auto n_required =
        static_cast<std::ptrdiff_t>(names.size() - s->signature.defaults.size());
    if (s->signature.uses_caller && caller != names.end() && caller - names.begin() < n_required) {
      in_.fail_here("the parameter 'caller' needs a default",
                    "leave it out: it is passed by itself");
    }
  }

  Stmt* macro_statement() {
    Stmt* s = start(StmtKind::kMacro);
    in_.take();
    s->name = in_.take_name();
    in_.soft = false;
    signature(s);
    callable_body(s, "endmacro");
    return s;
  }

  Stmt* call_statement() {
    Stmt* s = start(StmtKind::kCallBlock);
    in_.take();
    in_.soft = false;
    if (in_.at_operator("(")) signature(s);
    s->value = in_.expression();
    if (s->value->kind != ExprKind::kCall)
      in_.fail_here("'call' needs a call", "write {% call name() %}");
    callable_body(s, "endcall");
    return s;
  }

  Stmt* filter_statement() {
    Stmt* s = start(StmtKind::kFilterBlock);
    in_.take();
    in_.soft = false;
    s->value = in_.filters(nullptr, true);
    inside(s, [&] { s->body = last_body("endfilter"); });
    return s;
  }

  Stmt* with_statement() {
    Stmt* s = start(StmtKind::kWith);
    in_.take();
    in_.soft = false;
    while (!in_.at(TokenKind::kBlockEnd)) {
      if (!s->bindings.empty()) in_.expect_operator(",");
      Expr* target = in_.target(false);
      in_.expect_operator("=");
      s->bindings.emplace_back(target, in_.expression());
    }
    inside(s, [&] { s->body = last_body("endwith"); });
    return s;
  }

  Stmt* block_statement() {
    Stmt* s = start(StmtKind::kBlock);
    in_.take();
    s->name = in_.take_name();
    if (!blocks_.insert(s->name).second)
      in_.fail_here("the block '" + s->name->text + "' is defined twice");
    if (in_.skip_name("scoped") || in_.skip_name("required")) {
      in_.fail_here("blocks are for inheritance, which chat templates do not have",
                    "remove the block tags");
    }
    inside(s, [&] { s->body = last_body("endblock"); });
    in_.skip_name(s->name->text);
    return s;
  }

  Stmt* generation_statement() {
    Stmt* s = start(StmtKind::kGeneration);
    in_.take();
    std::vector<Stmt*> loops;
    loops.swap(in_.open_loops);
    for (Stmt* loop : loops) loop->uses_loop = true;
    inside(s, [&] { s->body = last_body("endgeneration"); });
    loops.swap(in_.open_loops);
    return s;
  }

  Ast& ast_;
  ExpressionParser in_;
  std::int32_t depth_ = 0;
  std::set<StringRep*> blocks_{};
};

}  // namespace

void parse_template(std::string_view source, Ast& ast) { Parser(source, ast).run(); }

}  // namespace spate::chat
