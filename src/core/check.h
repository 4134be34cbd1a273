// Checks for bugs: a failed check prints the expression, both operands and the place, and aborts.
// What a user can cause is never checked this way: return an Error (spate/result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

namespace spate::internal {

[[noreturn]] inline void check_failed(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what.c_str());
  std::abort();
}

template <class A, class B>
std::string describe(const char* expression, const A& a, const B& b) {
  if constexpr (fmt::is_formattable<A>::value && fmt::is_formattable<B>::value) {
    return fmt::format("{} ({} and {})", expression, a, b);
  } else {
    return expression;
  }
}

}  // namespace spate::internal

#define SPATE_CHECK(condition)                                                         \
  do {                                                                                 \
    if (!(condition)) ::spate::internal::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)

#define SPATE_CHECK_OP(a, op, b)                                                                 \
  do {                                                                                           \
    const auto& spate_a = (a);                                                                   \
    const auto& spate_b = (b);                                                                   \
    if (!(spate_a op spate_b)) {                                                                 \
      ::spate::internal::check_failed(                                                           \
          __FILE__, __LINE__, ::spate::internal::describe(#a " " #op " " #b, spate_a, spate_b)); \
    }                                                                                            \
  } while (false)
