// What a job's output promises: whole lines, whatever happened to the run before.
#include "offline/output_file.h"

#include <gmock/gmock.h>

#include "tests/offline/offline_fixture.h"

namespace spate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

OutputFile open_output(const std::string& path) {
  Result<OutputFile> file = OutputFile::open(path);
  EXPECT_TRUE(file.has_value()) << file.error().message;
  return std::move(*file);
}

std::vector<std::string> earlier_lines(const OutputFile& file) {
  std::vector<std::string> lines;
  const Result<void> read = file.for_each_line([&](std::string_view l) { lines.emplace_back(l); });
  EXPECT_TRUE(read.has_value());
  return lines;
}

TEST(OutputFile, AppendsWholeLines) {
  const TemporaryFile file;
  OutputFile output = open_output(file.path());
  EXPECT_TRUE(output.append("one").has_value());
  EXPECT_TRUE(output.append("").has_value());
  EXPECT_TRUE(output.append("two").has_value());
  EXPECT_EQ(file.text(), "one\n\ntwo\n");
}

TEST(OutputFile, KeepsTheLinesOfAnEarlierRun) {
  const TemporaryFile file;
  file.write("one\ntwo\n");
  OutputFile output = open_output(file.path());
  EXPECT_THAT(earlier_lines(output), ElementsAre("one", "two"));
  EXPECT_TRUE(output.append("three").has_value());
  EXPECT_EQ(file.text(), "one\ntwo\nthree\n");
}

TEST(OutputFile, CutsAPartialLastLine) {
  const TemporaryFile file;
  file.write("one\ntwo\n{\"id\": 3, \"te");
  OutputFile output = open_output(file.path());
  EXPECT_EQ(file.text(), "one\ntwo\n");
  EXPECT_THAT(earlier_lines(output), ElementsAre("one", "two"));
  EXPECT_TRUE(output.append("three").has_value());
  EXPECT_EQ(file.text(), "one\ntwo\nthree\n");
}

TEST(OutputFile, CutsAPartialLineThatIsAllThereIs) {
  const TemporaryFile file;
  file.write("{\"id\": 3, \"te");
  const OutputFile output = open_output(file.path());
  EXPECT_EQ(file.text(), "");
  EXPECT_THAT(earlier_lines(output), IsEmpty());
}

TEST(OutputFile, CutsAPartialLineLongerThanTheBlockItSearchesBy) {
  const TemporaryFile file;
  const std::string line(100'000, 'a');
  file.write(line + "\n" + std::string(200'000, 'b'));
  const OutputFile output = open_output(file.path());
  EXPECT_THAT(earlier_lines(output), ElementsAre(line));
  EXPECT_EQ(file.text(), line + "\n");
}

TEST(OutputFile, AFullDiskIsAnErrorThatNamesFileReasonAndRemedy) {
  OutputFile output = open_output("/dev/full");
  const Result<void> written = output.append("one");
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::kIo);
  EXPECT_THAT(written.error().message, HasSubstr("/dev/full"));
  EXPECT_THAT(written.error().message, HasSubstr("No space left on device"));
  EXPECT_THAT(written.error().message, HasSubstr("start the same command again"));
}

TEST(OutputFile, AFolderIsAnErrorThatNamesIt) {
  const Result<OutputFile> file = OutputFile::open("/tmp");
  ASSERT_FALSE(file.has_value());
  EXPECT_THAT(file.error().message, HasSubstr("/tmp: cannot open for writing"));
}

TEST(OutputFile, ADashIsStandardOutput) {
  ::testing::internal::CaptureStdout();
  {
    OutputFile output = open_output("-");
    EXPECT_THAT(earlier_lines(output), IsEmpty());
    EXPECT_TRUE(output.append("one").has_value());
  }
  EXPECT_TRUE(open_output("-").append("two").has_value());  // the first did not close it
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "one\ntwo\n");
}

}  // namespace
}  // namespace spate::test
