// Results of the engine's parts in a benchmark: their value, or the error and the end.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "spate/result.h"

namespace spate::bench {

template <class T>
T expect(Result<T> r) {
  if (!r) {
    std::printf("%s\n", r.error().message.c_str());
    std::exit(1);
  }
  return std::move(r).value();
}
inline void expect(const Result<void>& r) {
  if (!r) {
    std::printf("%s\n", r.error().message.c_str());
    std::exit(1);
  }
}

}  // namespace spate::bench
