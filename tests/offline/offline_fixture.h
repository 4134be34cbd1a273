// Jobs in tests: a file that removes itself, the built-in model opened once per test program, a
// batch run over lines that comes back as parsed JSON.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/json.h"
#include "offline/batch_job.h"
#include "tests/engine/engine_fixture.h"

namespace spate::test {

/// A path of this process and test alone; the file is removed at both ends.
class TemporaryFile {
 public:
  TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }

  const std::string& path() const { return path_; }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  std::string text() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> lines() const {
    std::istringstream in(text());
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() /
                       ("spate_offline_" + std::to_string(getpid()) + "_" +
                        ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".jsonl"))
                          .string();
};

/// Tests on the built-in model; loading it is most of their time, so that they share it.
class StoriesTest : public ::testing::Test {
 protected:
  static Engine& engine() {
    static const std::unique_ptr<Engine> shared = open({.model = stories_folder(), .threads = 1});
    return *shared;
  }
};

}  // namespace spate::test
