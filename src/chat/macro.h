// A macro or the caller of a call block: its definition and the scope it was defined in.
#pragma once

#include "chat/ast.h"
#include "chat/value.h"

namespace spate::chat {

/// Names and their values, innermost first. Names compare by address (Ast::intern). On the stack of
/// the interpreter, or in the heap when a macro defined inside may outlive the statement.
struct Scope : Object {
  Scope* parent = nullptr;
  std::vector<std::pair<const StringRep*, Value>> variables{};

  Value* find_here(const StringRep* name) {
    for (auto& variable : variables) {
      if (variable.first == name) return &variable.second;
    }
    return nullptr;
  }
  const Value* find(const StringRep* name) {
    for (Scope* scope = this; scope != nullptr; scope = scope->parent) {
      if (const Value* value = scope->find_here(name)) return value;
    }
    return nullptr;
  }
  void set(const StringRep* name, Value value) {
    if (Value* here = find_here(name)) {
      *here = std::move(value);
    } else {
      variables.emplace_back(name, std::move(value));
    }
  }
};

struct Macro : Object {
  const Stmt* definition = nullptr;
  Scope* scope = nullptr;
};

}  // namespace spate::chat
