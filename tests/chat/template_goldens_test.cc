#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/chat/goldens.h"

namespace spate {
namespace {

using testing::fnv1a;
using testing::rendered;

// Outside the repository; the goldens made from these files are inside.
std::filesystem::path template_folder() { return "../shared/data/tokenizers/chat_templates"; }

ChatInput input_of(const OrderedJson& conversation) {
  return {.messages = conversation.at("messages"),
          .tools = conversation.value("tools", OrderedJson()),
          .add_generation_prompt = conversation.value("add_generation_prompt", true),
          .bos_token = "<s>",
          .eos_token = "</s>",
          .extra = conversation.value("extra", OrderedJson::object()),
          .now = testing::golden_time()};
}

// Empty when the output is the golden one. Errors must meet errors; their texts are our own.
std::string difference(const std::string& output, const OrderedJson& golden) {
  const bool failed = output.rfind("error: ", 0) == 0;
  if (golden.is_null()) return failed ? "" : "Jinja2 raises, we print: " + output;
  if (failed) return output;
  if (golden.is_string()) {
    return output == golden ? ""
                            : "expected:\n" + golden.get<std::string>() + "\nfound:\n" + output;
  }
  const bool same = golden.at("bytes") == output.size() && golden.at("fnv1a") == fnv1a(output);
  return same ? ""
              : "expected " + golden.dump() + ", found " + std::to_string(output.size()) +
                    " bytes:\n" + output;
}

TEST(PublishedTemplates, RenderAsJinja2DoesOnEveryConversation) {
  if (!std::filesystem::exists(template_folder()))
    GTEST_SKIP() << "no templates in " << template_folder();
  const OrderedJson goldens = testing::read_golden("templates.json");

  for (const auto& [name, golden] : goldens.at("templates").items()) {
    const Result<std::string> source = read_file(template_folder() / name);
    ASSERT_TRUE(source) << source.error().message;
    ASSERT_EQ(fnv1a(*source), golden.at("fnv1a")) << name << " changed; make the goldens again";
    for (const auto& [title, output] : golden.at("outputs").items()) {
      const OrderedJson& conversation = goldens.at("conversations").at(title);
      EXPECT_EQ(difference(rendered(*source, input_of(conversation)), output), "")
          << name << " on " << title;
    }
  }
}

TEST(PublishedTemplates, AreAllCovered) {
  if (!std::filesystem::exists(template_folder()))
    GTEST_SKIP() << "no templates in " << template_folder();
  const OrderedJson goldens = testing::read_golden("templates.json");

  for (const auto& entry : std::filesystem::directory_iterator(template_folder())) {
    if (entry.path().extension() != ".jinja") continue;
    EXPECT_TRUE(goldens.at("templates").contains(entry.path().filename().string())) << entry.path();
  }
}

class Snippets : public ::testing::TestWithParam<std::string> {};

TEST_P(Snippets, RenderAsInJinja2) {
  const OrderedJson goldens = testing::read_golden("snippets.json");
  ChatInput input{.extra = goldens.at("context"), .now = testing::golden_time()};

  for (const OrderedJson& snippet : goldens.at("snippets")) {
    if (snippet.at("group") != GetParam()) continue;
    const std::string source = snippet.at("source");
    EXPECT_EQ(difference(rendered(source, input), snippet.at("output")), "") << source;
  }
}

std::vector<std::string> snippet_groups() {
  std::vector<std::string> groups;
  const OrderedJson goldens = testing::read_golden("snippets.json");
  for (const OrderedJson& snippet : goldens.at("snippets")) {
    if (groups.empty() || groups.back() != snippet.at("group"))
      groups.push_back(snippet.at("group"));
  }
  return groups;
}

INSTANTIATE_TEST_SUITE_P(All, Snippets, ::testing::ValuesIn(snippet_groups()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace spate
