// The input of a job: a file of lines or standard input.
#pragma once

#include <fstream>
#include <istream>
#include <string>

#include "spate/result.h"

namespace spate::apps {

/// Move-only; owns the file.
class Input {
 public:
  /// "-" is standard input. Refuses folders, and a file that is also `output`.
  static Result<Input> open(const std::string& path, const std::string& output);

  std::istream& stream();
  /// How much of it has been read, in [0, 1]; negative where its size is not known.
  double share();

 private:
  std::ifstream file_;
  double size_ = 0.0;
};

}  // namespace spate::apps
