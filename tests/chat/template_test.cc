#include "chat/template.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/chat/goldens.h"

namespace spate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::rendered;
using ::testing::StartsWith;

TEST(ChatTemplate, SeesTheConversationAndTheSpecialTokens) {
  const ChatInput input{.messages = OrderedJson::parse(R"([{"role": "user", "content": "hi"}])"),
                        .bos_token = "<s>",
                        .eos_token = "</s>"};

  EXPECT_EQ(rendered("{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m['content'] }}{{ "
                     "eos_token }}{% endfor %}"
                     "{% if add_generation_prompt %}[assistant]{% endif %}",
                     input),
            "<s>[user] hi</s>[assistant]");
}

TEST(ChatTemplate, LeavesAbsentTokensUndefined) {
  EXPECT_EQ(rendered("{{ bos_token is defined }} {{ tools is none }} {{ documents is none }}", {}),
            "False True True");
}

TEST(ChatTemplate, RefusesExtraVariablesThatAreNoObject) {
  EXPECT_THAT(rendered("x", {.extra = OrderedJson::array()}), HasSubstr("must be an object"));
}

TEST(ChatTemplate, NamesLineColumnExpressionAndRemedyOfAnError) {
  EXPECT_EQ(
      rendered("a\nbé {{ messages[0].content }}", {}),
      "error: chat template, line 2, column 7: a value is undefined, in `messages[0].content`; "
      "pass it to the template, or guard it with 'is defined' or |default");
}

TEST(ChatTemplate, NamesTheMissingVariable) {
  EXPECT_EQ(rendered("{{ nope.x }}", {}),
            "error: chat template, line 1, column 4: 'nope' is undefined, in `nope.x`; "
            "pass it to the template, or guard it with 'is defined' or |default");
}

TEST(ChatTemplate, PassesTheTemplatesOwnRefusalOn) {
  EXPECT_THAT(rendered("{{ raise_exception('roles must alternate') }}", {}),
              HasSubstr("the template refuses this conversation: roles must alternate"));
}

TEST(ChatTemplate, RefusesInclusionByName) {
  const Result<ChatTemplate> parsed = ChatTemplate::parse("{% include 'x' %}");

  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(parsed.error().message, HasSubstr("'include'"));
}

TEST(ChatTemplate, IsTheSameFromManyRenders) {
  const Result<ChatTemplate> parsed = ChatTemplate::parse("{% set x = x ~ 'a' %}{{ x }}");
  ASSERT_TRUE(parsed);

  EXPECT_EQ(*parsed->render({}), "a");
  EXPECT_EQ(*parsed->render({}), "a");
}

TEST(ChatTemplate, CarriesBytesThatAreNotUtf8Through) {
  EXPECT_EQ(rendered("\xff{{ '\xfe' | upper }}\xc3", {}), "\xff\xfe\xc3");
}

// Each of these would run for minutes or take gigabytes in Jinja2.
class Hostile : public ::testing::TestWithParam<const char*> {};

TEST_P(Hostile, IsRefusedQuickly) {
  const auto start = std::chrono::steady_clock::now();

  EXPECT_THAT(rendered(GetParam(), {}), StartsWith("error: ")) << GetParam();

  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

INSTANTIATE_TEST_SUITE_P(
    All, Hostile,
    ::testing::Values(
        "{{ 'x' * 10**9 }}", "{{ [1] * 10**9 }}", "{{ '%999999999d' % 1 }}",
        "{{ '{:999999999}'.format(1) }}", "{{ 'x'.ljust(10**9) }}", "{{ 'x'.zfill(10**10) }}",
        "{{ 2 ** 100 }}", "{{ range(10**9) }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% "
        "endfor %}{{ ns.x == ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}{{ ns.x | tojson }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set x = 'a' * 10**7 %}{% for i in range(1000) %}{{ x | replace('a', 'b') | length }}{% "
        "endfor %}",
        "{{ ('a' * 10**6) | replace('', 'b' * 10**6) }}",
        "{{ ('\n' * 10**6) | indent('x' * 10**6) }}", "{{ ['a' * 10**6] * 100000 | join }}",
        "{{ (['a' * 10**6] * 10000) | join }}", "{{ [1, 2] | slice(10**9) | list }}",
        "{{ [1] | batch(10**9, 0) | list }}", "{{ [1] | tojson(indent=10**9) }}",
        "{{ '\t'.expandtabs(10**9) }}", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"));

TEST(ChatTemplate, RefusesNestingThatWouldExhaustTheStack) {
  for (const char* open : {"(", "[", "{1:", "not ", "-", "(1,", "1 if ", "f(", "x[", "'a' ~ ("}) {
    std::string source = "{{ ";
    for (int i = 0; i < 50'000; ++i) source += open;
    EXPECT_THAT(rendered(source, {}), StartsWith("error: ")) << open;
  }
  for (const char* link : {" + 1", " or 1", " | upper", ".x", "[0]", "()", " if 1", " is odd"}) {
    std::string source = "{{ 1";
    for (int i = 0; i < 50'000; ++i) source += link;
    EXPECT_THAT(rendered(source + " }}", {}), StartsWith("error: ")) << link;
  }
  for (const char* tag : {"{% if 1 %}", "{% for i in [1] %}", "{% macro m() %}",
                          "{% filter upper %}", "{% with %}", "{% set x %}"}) {
    std::string source;
    for (int i = 0; i < 50'000; ++i) source += tag;
    EXPECT_THAT(rendered(source, {}), StartsWith("error: ")) << tag;
  }
}

TEST(ChatTemplate, AcceptsALongChainOfBranches) {
  std::string source = "{% if x == 0 %}a";
  for (int i = 1; i < 2000; ++i)
    source += "{% elif x == " + std::to_string(i) + " %}b" + std::to_string(i);
  source += "{% endif %}";

  EXPECT_EQ(rendered(source, {.extra = {{"x", 1999}}}), "b1999");
}

TEST(ChatTemplate, HoldsItsOutputLimit) {
  EXPECT_THAT(
      rendered("{% for i in range(50) %}12345678901{% endfor %}", {}, {.max_output_bytes = 500}),
      HasSubstr("larger than 500 bytes"));
  EXPECT_THAT(
      rendered("{% for i in range(50) %}1234567890{% endfor %}", {}, {.max_output_bytes = 500}),
      Not(HasSubstr("error")));
}

TEST(ChatTemplate, HoldsItsStepLimit) {
  EXPECT_THAT(rendered("{% for i in range(1000) %}{{ i }}{% endfor %}", {}, {.max_steps = 1000}),
              HasSubstr("more than 1000 steps"));
}

TEST(ChatTemplate, RendersALongConversationWithinTheStepLimit) {
  ChatInput input;
  for (int i = 0; i < 2000; ++i) {
    input.messages.push_back(
        {{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(2000, 'x')}});
  }

  const std::string text = rendered(
      "{% for m in messages %}{{ m.role ~ ': ' ~ m.content | trim }}\n{% endfor %}", input);

  EXPECT_GT(text.size(), 4'000'000U);
}

}  // namespace
}  // namespace spate
