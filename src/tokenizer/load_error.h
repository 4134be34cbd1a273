// The exception inside this folder while a tokenizer is read. Tokenizer::load and its siblings
// turn it into a Result; it never leaves the library.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "spate/result.h"

namespace spate {

class LoadError : public std::exception {
 public:
  LoadError(ErrorCode code, std::string message) : error_{code, std::move(message)} {}
  const char* what() const noexcept override { return error_.message.c_str(); }
  const Error& error() const { return error_; }

 private:
  Error error_;
};

}  // namespace spate
