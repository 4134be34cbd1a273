// How the interpreter gives up. Failure is thrown inside this folder only; ChatTemplate catches it
// and returns an Error with the line, the column and the expression. It never leaves src/chat.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "spate/result.h"

namespace spate::chat {

struct Failure {
  std::string message{};
  std::string remedy{};
  ErrorCode code = ErrorCode::kInvalidArgument;
  bool located = false;    // the innermost expression wins
  std::int64_t begin = 0;  // byte offsets into the template
  std::int64_t end = 0;
};

[[noreturn]] inline void fail(std::string message, std::string remedy = {}) {
  throw Failure{.message = std::move(message), .remedy = std::move(remedy)};
}

}  // namespace spate::chat
