// What a second run, or a second process, makes of an output that is there already.
#include <algorithm>

#include <gmock/gmock.h>

#include "offline/lanes.h"
#include "tests/offline/offline_fixture.h"

namespace spate::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Resume : public StoriesTest {
 protected:
  static BatchProgress run(const TemporaryFile& file, const std::string& input,
                           std::int64_t stop_after = INT64_MAX) {
    std::istringstream in(input);
    Result<OutputFile> output = OutputFile::open(file.path());
    EXPECT_TRUE(output.has_value());
    const auto observe = [&](const BatchProgress& p) { return p.finished < stop_after; };
    const Result<BatchProgress> done = run_batch(engine(), in, *output, {}, observe);
    EXPECT_TRUE(done.has_value());
    return done ? *done : BatchProgress{};
  }
};

/// The same id on lines that differ, the longest answers first.
std::string lines_of_one_id(int n) {
  std::string input;
  for (int i = 0; i < n; ++i) {
    const Json line = {{"id", i % 3 == 2 ? Json("other") : Json("same")},
                       {"prompt", "Once upon a time"},
                       {"max_tokens", 1 + (n - i) * 3},
                       {"ignore_eos", true},
                       {"temperature", 0}};
    input += line.dump() + "\n";
  }
  return input;
}

TEST_F(Resume, LinesWithTheSameIdAreWrittenInInputOrder) {
  const TemporaryFile file;
  run(file, lines_of_one_id(9));

  std::map<std::string, std::vector<int>> lengths;
  for (const std::string& line : file.lines()) {
    const Json json = Json::parse(line);
    lengths[json.at("id")].push_back(json.at("completion_tokens"));
  }
  EXPECT_THAT(lengths.at("same"), ElementsAre(28, 25, 19, 16, 10, 7));
  EXPECT_THAT(lengths.at("other"), ElementsAre(22, 13, 4));
}

TEST_F(Resume, LinesWithTheSameIdAreEachDoneOnceWhereverTheFirstRunEnded) {
  const std::string input = lines_of_one_id(9);
  const TemporaryFile file;
  run(file, input);
  std::vector<std::string> whole = file.lines();
  std::sort(whole.begin(), whole.end());
  for (const std::int64_t stop_after : {1, 2, 4, 7}) {
    file.write("");
    const BatchProgress first = run(file, input, stop_after);
    const BatchProgress second = run(file, input);
    EXPECT_EQ(second.skipped, first.finished);
    std::vector<std::string> lines = file.lines();
    std::sort(lines.begin(), lines.end());
    EXPECT_EQ(lines, whole) << "stopped after " << stop_after;
  }
}

TEST(OutputLock, ASecondWriterIsRefusedUntilTheFirstIsGone) {
  const TemporaryFile file;
  file.write("one\n");
  {
    const Result<OutputFile> first = OutputFile::open(file.path());
    ASSERT_TRUE(first.has_value());
    for (const auto open : {&OutputFile::open, &OutputFile::replace}) {
      const Result<OutputFile> second = open(file.path());
      ASSERT_FALSE(second.has_value());
      EXPECT_THAT(second.error().message,
                  AllOf(HasSubstr(file.path()), HasSubstr("another process is writing it")));
    }
    EXPECT_EQ(file.text(), "one\n");
  }
  EXPECT_TRUE(OutputFile::open(file.path()).has_value());
}

TEST(OutputLock, MovesWithTheFile) {
  const TemporaryFile file;
  Result<OutputFile> first = OutputFile::open(file.path());
  ASSERT_TRUE(first.has_value());
  const OutputFile moved = std::move(*first);
  EXPECT_FALSE(OutputFile::open(file.path()).has_value());
}

TEST(OutputReplace, BeginsAnew) {
  const TemporaryFile file;
  file.write("one\ntwo\nthr");
  Result<OutputFile> output = OutputFile::replace(file.path());
  ASSERT_TRUE(output.has_value());
  EXPECT_TRUE(output->append("four").has_value());
  EXPECT_EQ(file.text(), "four\n");
}

TEST(Lanes, HoldALineBackUntilThoseBeforeItInItsLaneAreDone) {
  Lanes lanes;
  std::vector<std::string> written;
  const auto write = [&](const std::string& line) { written.push_back(line); };
  const Lanes::Place a0 = lanes.begin("a");
  const Lanes::Place a1 = lanes.begin("a");
  const Lanes::Place b0 = lanes.begin("b");

  lanes.finish(a1, "a1", write);
  EXPECT_THAT(written, IsEmpty());
  lanes.finish(b0, "b0", write);
  EXPECT_THAT(written, ElementsAre("b0"));
  lanes.finish(a0, "a0", write);
  EXPECT_THAT(written, ElementsAre("b0", "a0", "a1"));
  const Lanes::Place again = lanes.begin("a");
  lanes.finish(again, "a2", write);
  EXPECT_THAT(written, SizeIs(4));
}

}  // namespace
}  // namespace spate::test
