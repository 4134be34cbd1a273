// Recursive descent from tokens to the tree, with Jinja's grammar and precedences. What a chat
// template may not do (include, import, extends) is refused by name. Nesting is bounded.
#pragma once

#include <string_view>

#include "chat/ast.h"

namespace spate::chat {

/// Deepest nesting of statements plus expressions, and the longest chain of operators or filters.
inline constexpr std::int32_t kMaxDepth = 200;

/// Fills `ast` from a normalized source. Throws Failure.
void parse_template(std::string_view source, Ast& ast);

}  // namespace spate::chat
