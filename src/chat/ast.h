// The parsed template: expressions and statements in one arena, linked by plain pointers. Immutable
// after parsing and shared by concurrent renders. Depth is bounded by the parser, so recursion over
// the tree is safe.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/value.h"

namespace spate::chat {

struct FilterEntry;  // chat/filters.h
struct TestEntry;    // chat/tests.h

enum class ExprKind : std::uint8_t {
  kConstant,
  kName,
  kAttribute,  // operands[0].name
  kItem,       // operands[0][operands[1]]
  kSlice,      // operands[0..3]: base, start, stop, step; null where left out
  kCall,       // operands[0](call)
  kFilter,     // operands[0]|name(call); the operand is null at the head of a filter block
  kTest,       // operands[0] is name(call)
  kUnary,
  kBinary,
  kAnd,
  kOr,
  kCompare,  // operands[0] operators[0] operands[1] operators[1] ...
  kConcat,
  kConditional,  // test, value, otherwise (may be null)
  kList,
  kTuple,
  kDict,          // key, value, key, value, ...
  kNamespaceRef,  // name.attribute as the target of an assignment
};

enum class Operator : std::uint8_t {
  kNot,
  kNegate,
  kPlus,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr;

struct CallArguments {
  std::vector<Expr*> positional{};
  std::vector<std::pair<StringRep*, Expr*>> named{};
  Expr* star = nullptr;
  Expr* star_star = nullptr;
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  Operator op = Operator::kNot;
  std::int32_t depth = 1;
  std::int64_t begin = 0;  // bytes [begin, end) of the template
  std::int64_t end = 0;
  Value constant{};
  StringRep* name = nullptr;
  StringRep* attribute = nullptr;  // of a kNamespaceRef
  std::vector<Expr*> operands{};
  std::vector<Operator> operators{};
  CallArguments call{};
  const FilterEntry* filter = nullptr;
  const TestEntry* test = nullptr;
};

enum class StmtKind : std::uint8_t {
  kText,
  kOutput,
  kFor,
  kIf,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kBlock,
  kGeneration,
  kBreak,
  kContinue,
};

struct Stmt;
using Body = std::vector<Stmt*>;

struct Branch {
  Expr* test = nullptr;  // null for else
  Body body{};
};

/// Parameters of a macro or a call block, and what its body asks for.
struct Signature {
  std::vector<StringRep*> names{};
  std::vector<Expr*> defaults{};  // of the last names
  bool uses_caller = false;
  bool uses_kwargs = false;
  bool uses_varargs = false;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  bool recursive = false;  // for
  bool uses_loop = false;  // for
  bool captures = false;   // a macro or call block inside may outlive this statement's scope
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::string text{};
  StringRep* name = nullptr;  // macro
  Expr* target = nullptr;     // for, set
  Expr* value = nullptr;      // for: the iterable; set, output, call and filter blocks
  Expr* condition = nullptr;  // for ... if
  std::vector<std::pair<Expr*, Expr*>> bindings{};  // with
  std::vector<Branch> branches{};                   // if
  Body body{};
  Body otherwise{};  // for ... else
  Signature signature{};
};

/// Owner of a parsed template's nodes and strings.
class Ast {
 public:
  /// The one StringRep for this text: names compare by address.
  StringRep* intern(std::string_view text);
  /// The StringRep if the template mentions this text as a name, else null.
  StringRep* find_name(std::string_view text) const;

  Expr* new_expr() { return &exprs_.emplace_back(); }
  Stmt* new_stmt() { return &stmts_.emplace_back(); }

  Body body{};

 private:
  std::deque<StringRep> strings_{};  // declared first: constants in exprs_ point here
  std::unordered_map<std::string_view, StringRep*> interned_{};
  std::deque<Expr> exprs_{};
  std::deque<Stmt> stmts_{};
};

}  // namespace spate::chat
