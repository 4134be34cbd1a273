#include "bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spate::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Report full_report() {
  return {.title = "a <b> & c",
          .tables = {{.title = "t", .head = {"", "x"}, .rows = {{"row", "1"}}}},
          .rooflines = {{.title = "r",
                         .bytes = 4e10,
                         .ceilings = {{"int8", 9e11}},
                         .points = {{.group = "p", .intensity = 2.0, .operations = 5e10}}}},
          .bars = {{.title = "b", .bars = {{.name = "q", .value = 2.0, .limit = 1.0}}}},
          .distributions = {{.title = "d", .series = {{"s", {1.0, 2.0, 3.0}}}}}};
}

TEST(Report, AsksNobodyForAnything) {
  const std::string html = html_of(full_report());

  for (const char* outside : {"http", "<script", "<link", "@import", "url(", "src="}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(Report, EscapesWhatItIsGiven) {
  EXPECT_THAT(html_of(full_report()), HasSubstr("a &lt;b&gt; &amp; c"));
}

TEST(Report, DrawsNoImpossibleNumberWhenNothingWasMeasured) {
  Report empty = full_report();
  empty.bars[0].bars[0] = {.name = "q"};
  empty.distributions[0].series[0].milliseconds.clear();

  const std::string html = html_of(empty);

  EXPECT_THAT(html, Not(HasSubstr("nan")));
  EXPECT_THAT(html, Not(HasSubstr("inf")));
}

TEST(Report, AFolderThatIsNotThereIsAnError) {
  const auto written = write_report("/nonexistent/report.html", {});

  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("/nonexistent/report.html"));
}

}  // namespace
}  // namespace spate::bench
