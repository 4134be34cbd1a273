// LoadError: how what is read from files (configs, checkpoints, tokenizers) is refused from deep
// inside a constructor or a parser. It never leaves the library: load_result() is the boundary
// where it becomes a Result.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "spate/result.h"

namespace spate {

class LoadError : public std::runtime_error {
 public:
  explicit LoadError(Error error) : std::runtime_error(error.message), error_(std::move(error)) {}
  LoadError(ErrorCode code, std::string message) : LoadError(Error{code, std::move(message)}) {}

  const Error& error() const { return error_; }

 private:
  Error error_;
};

/// Throws kUnsupported "<what> are not supported" unless `condition` holds.
inline void require(bool condition, std::string_view what) {
  if (!condition) {
    throw LoadError(ErrorCode::kUnsupported, fmt::format("{} are not supported", what));
  }
}

/// The value of an operation below the loader, thrown as a LoadError if it failed.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw LoadError(result.error());
  return std::move(result).value();
}

/// Runs `load` and turns a LoadError into an Error. Other exceptions pass.
template <class F>
Result<std::invoke_result_t<F>> load_result(F&& load) {
  try {
    return std::forward<F>(load)();
  } catch (const LoadError& e) {
    return e.error();
  }
}

}  // namespace spate
