// What filters, tests and methods may ask of the interpreter: memory, the meter, and calling back.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "chat/value.h"

namespace spate::chat {

/// The arguments of one call, evaluated.
struct Arguments {
  std::span<const Value> positional{};
  std::span<const Pair> named{};
};

/// One render in progress. Used by one thread.
class Runtime {
 public:
  explicit Runtime(const ChatLimits& limits) : heap(limits) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  virtual Value call(const Value& callee, const Arguments& arguments) = 0;

  Heap heap;
  std::int32_t depth = 0;  // of evaluation, bounded by DepthScope
};

/// One level of recursion, for as long as it lives. The bound keeps the native stack from
/// overflowing.
class DepthScope {
 public:
  explicit DepthScope(Runtime& rt) : depth_(rt.depth) {
    if (depth_ >= rt.heap.limits().max_depth) {
      fail("the template recurses too deeply", "look for a macro that calls itself without end");
    }
    ++depth_;
  }
  DepthScope(const DepthScope&) = delete;
  DepthScope& operator=(const DepthScope&) = delete;
  ~DepthScope() { --depth_; }

 private:
  std::int32_t& depth_;
};

/// Arguments assigned to parameter names, in order. A parameter that was not given is null.
class Bound {
 public:
  /// `what` names the callee in errors. The first `n_required` parameters must be given.
  Bound(std::string_view what, const Arguments& arguments,
        std::initializer_list<std::string_view> names, std::int64_t n_required);

  const Value* operator[](std::size_t i) const { return values_[i]; }
  bool has(std::size_t i) const { return values_[i] != nullptr && !values_[i]->is_none(); }
  const Value& at(std::size_t i) const { return *values_[i]; }
  std::int64_t integer(std::size_t i, std::int64_t otherwise) const;
  bool boolean(std::size_t i, bool otherwise) const;
  /// The text of a string argument; an error for anything else.
  std::string_view text(std::size_t i, std::string_view otherwise) const;

 private:
  std::string_view what_;
  std::vector<const Value*> values_{};
};

}  // namespace spate::chat
