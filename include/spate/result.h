// Result<T>: a value or an Error. The names are those of C++23's std::expected, which the
// toolchain (C++20) does not have. User errors travel this way; bugs abort (core/check.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace spate {

enum class ErrorCode : std::uint8_t {
  kInvalidArgument,  // the caller's value is wrong; the message names it and the remedy
  kNotFound,         // a file, tensor, token or model that is not there
  kUnsupported,      // well-formed, but Spate does not do it
  kCorrupt,          // a file contradicts itself; the message has file and offset
  kOutOfMemory,      // does not fit; the message has both numbers
  kIo,               // the operating system refused; the message has its reason
  kCancelled,
  kInternal,
};

/// What went wrong, with the offending value, and what to do about it.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message{};
};

/// Either a T or an Error. `if (!r) return r.error();` is the idiom; T may be move-only.
template <class T>
class [[nodiscard]] Result {
 public:
  // Implicit on purpose: `return value;` and `return Error{...};` both read naturally.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT

  bool has_value() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const { return error_; }

 private:
  Error error_{};
  bool ok_ = true;
};

}  // namespace spate
