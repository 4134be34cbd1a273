// The `loop` variable of a running for statement. Items are taken one at a time, because a loop's
// condition may look at a namespace that its body changes.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "chat/runtime.h"

namespace spate::chat {

struct Stmt;
struct Scope;

struct Loop : Object {
  std::vector<Value> items{};
  std::size_t position = 0;                  // the next item not looked at yet
  bool sized = true;                         // false: the length is only known by reading all
  std::function<bool(const Value&)> keep{};  // the condition; empty without one, or when over
  std::optional<Value> after{};              // read ahead for loop.last and loop.nextitem
  std::optional<Value> current{};
  std::optional<Value> before{};
  std::optional<std::vector<Value>> changed_values{};
  std::int64_t index0 = -1;
  std::int64_t depth0 = 0;
  const Stmt* recursive = nullptr;  // the statement to run again for loop(items)
  Scope* outer = nullptr;

  /// Moves to the next item; false at the end.
  bool advance();
  /// The item after this one, if any.
  const std::optional<Value>& peek();
  std::int64_t length();

 private:
  std::optional<Value> read();
};

/// loop.index and its like; undefined for an unknown name.
Value loop_attribute(Runtime& rt, const Value& loop, const Value& name);
Value loop_cycle(const Loop& loop, const Arguments& arguments);
Value loop_changed(Runtime& rt, Loop& loop, const Arguments& arguments);

}  // namespace spate::chat
