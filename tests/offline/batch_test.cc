// Batch jobs on the built-in model: both dialects, bad lines among good ones, order, resuming.
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "offline/batch_line.h"
#include "tests/offline/offline_fixture.h"

namespace spate::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Batch : public StoriesTest {
 protected:
  /// Runs `input` into `file`; stops early when `stop_after` lines are written.
  static BatchProgress run_into(const TemporaryFile& file, const std::string& input,
                                const BatchOptions& options = {},
                                std::int64_t stop_after = INT64_MAX) {
    std::istringstream in(input);
    Result<OutputFile> output = OutputFile::open(file.path());
    EXPECT_TRUE(output.has_value());
    const auto observer = [&](const BatchProgress& p) { return p.finished < stop_after; };
    const Result<BatchProgress> done = run_batch(engine(), in, *output, options, observer);
    EXPECT_TRUE(done.has_value());
    return done ? *done : BatchProgress{};
  }

  static std::vector<Json> run(const std::string& input, const BatchOptions& options = {}) {
    const TemporaryFile file;
    run_into(file, input, options);
    std::vector<Json> out;
    for (const std::string& line : file.lines()) out.push_back(Json::parse(line));
    return out;
  }

  static Json run_one(const std::string& line) {
    const std::vector<Json> out = run(line + "\n");
    EXPECT_THAT(out, SizeIs(1));
    return out.empty() ? Json() : out.front();
  }
};

/// Lines of varied lengths, some with a seed of their own, sampled.
std::string varied_lines(int n) {
  std::string input;
  for (int i = 0; i < n; ++i) {
    Json line = {{"id", "r" + std::to_string(i)},
                 {"prompt", "Once upon a time there was a " +
                                std::string(static_cast<std::size_t>(i) % 5, 'a')},
                 {"max_tokens", 3 + i * 7 % 17},
                 {"temperature", 1.0}};
    if (i % 3 == 0) line["seed"] = i;
    if (i % 7 == 6) line["n"] = 2;
    input += line.dump() + "\n";
  }
  return input;
}

std::vector<std::string> sorted(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST_F(Batch, ALineOfTheOwnDialectHasTextTokensReasonAndCounts) {
  const Json out =
      run_one(R"({"id": "a", "prompt": "Once upon a time", "max_tokens": 5, "temperature": 0})");
  EXPECT_EQ(out.at("id"), "a");
  EXPECT_EQ(out.at("token_ids").size(), 5U);
  EXPECT_EQ(out.at("completion_tokens"), 5);
  EXPECT_EQ(out.at("finish_reason"), "length");
  EXPECT_EQ(out.at("prompt_tokens"), engine().tokenize("Once upon a time")->size());
  const auto ids = out.at("token_ids").get<std::vector<TokenId>>();
  EXPECT_EQ(out.at("text"), engine().detokenize(ids));
  EXPECT_FALSE(out.contains("error"));
}

TEST_F(Batch, PromptTokenIdsGiveWhatTheirTextGives) {
  const Json ids(*engine().tokenize("Once upon a time"));
  const Json by_ids = run_one(
      R"({"id": 1, "max_tokens": 5, "temperature": 0, "prompt_token_ids": )" + ids.dump() + "}");
  EXPECT_EQ(
      by_ids,
      run_one(R"({"id": 1, "max_tokens": 5, "temperature": 0, "prompt": "Once upon a time"})"));
}

TEST_F(Batch, MessagesGoThroughTheChatTemplate) {
  const std::vector<ChatMessage> messages = {{.role = "user", .content = "Tell me a story."}};
  const Json out = run_one(
      R"({"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 3})");
  EXPECT_EQ(out.at("prompt_tokens"), engine().tokenize_chat(messages)->size());
  EXPECT_EQ(out.at("id"), 0);
}

TEST_F(Batch, OpenAiChatLinesComeBackInOpenAisShape) {
  const Json out = run_one(
      R"({"custom_id": "c-1", "method": "POST", "url": "/v1/chat/completions", "body": )"
      R"({"model": "stories", "messages": [{"role": "user", "content": "Hello"}], )"
      R"("max_completion_tokens": 4, "ignore_eos": true, "logprobs": true, "top_logprobs": 2}})");
  EXPECT_EQ(out.at("custom_id"), "c-1");
  EXPECT_TRUE(out.at("error").is_null());
  EXPECT_EQ(out.at("response").at("status_code"), 200);
  const Json& body = out.at("response").at("body");
  EXPECT_EQ(body.at("object"), "chat.completion");
  EXPECT_EQ(body.at("model"), "stories");
  EXPECT_EQ(body.at("usage").at("completion_tokens"), 4);
  const Json& choice = body.at("choices").at(0);
  EXPECT_EQ(choice.at("message").at("role"), "assistant");
  EXPECT_TRUE(choice.at("message").at("content").is_string());
  EXPECT_EQ(choice.at("finish_reason"), "length");
  EXPECT_EQ(choice.at("logprobs").at("content").size(), 4U);
  EXPECT_EQ(choice.at("logprobs").at("content").at(0).at("top_logprobs").size(), 2U);
}

TEST_F(Batch, OpenAiCompletionLinesComeBackInOpenAisShape) {
  const Json out =
      run_one(R"({"custom_id": "c-2", "method": "POST", "url": "/v1/completions", "body": )"
              R"({"prompt": "Once upon", "max_tokens": 3, "temperature": 0, "n": 2}})");
  const Json& body = out.at("response").at("body");
  EXPECT_EQ(out.at("custom_id"), "c-2");
  EXPECT_EQ(body.at("object"), "text_completion");
  EXPECT_EQ(body.at("choices").size(), 2U);
  EXPECT_EQ(body.at("choices").at(0).at("text"), body.at("choices").at(1).at("text"));
  EXPECT_EQ(body.at("usage").at("completion_tokens"), 6);
}

TEST_F(Batch, BadLinesGetAnErrorEachAndStopNothing) {
  const std::string long_prompt = Json(std::vector<int>(3000, 5)).dump();
  const std::vector<std::pair<std::string, std::string>> bad = {
      {R"({"id": "x", "prompt": )", "not valid JSON"},
      {"17", "JSON object"},
      {R"({"prompt": 17})", "prompt"},
      {R"({"max_tokens": 3})", "exactly one of"},
      {R"({"prompt": "a", "prompt_token_ids": [1]})", "exactly one of"},
      {R"({"prompt": "a", "max_tokens": "many"})", "max_tokens"},
      {R"({"prompt": "a", "temperature": -1})", "temperature"},
      {R"({"prompt_token_ids": [4096]})", "4096"},
      {R"({"prompt_token_ids": [-1]})", "-1"},
      {R"({"prompt_token_ids": [1.5]})", "1.5"},
      {R"({"prompt_token_ids": []})", "empty"},
      {R"({"prompt_token_ids": )" + long_prompt + "}", "3000"},
      {R"({"messages": "hello"})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": ["hello"]})", "messages"},
      {R"({"messages": [{"content": "hello"}]})", "role"},
      {"{\"prompt\": \"\xff\xfe\"}", "not valid JSON"},
      {R"({"prompt": "a", "n": 0})", "n is 0"}};
  std::string input;
  for (const auto& [line, message] : bad) {
    input += line + "\n" + R"({"id": "good", "prompt": "a", "max_tokens": 2})" + "\n";
  }
  const std::vector<Json> out = run(input, {.keep_order = true});
  ASSERT_THAT(out, SizeIs(2 * bad.size()));
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const Json& failed = out[2 * i];
    ASSERT_TRUE(failed.contains("error")) << bad[i].first << failed.dump();
    EXPECT_THAT(failed.at("error").get<std::string>(), HasSubstr(bad[i].second));
    EXPECT_EQ(failed.at("id"), 2 * i);
    EXPECT_EQ(out[2 * i + 1].at("completion_tokens"), 2);
  }
}

TEST_F(Batch, BadOpenAiLinesGetAnErrorInOpenAisShape) {
  for (const char* line :
       {R"({"custom_id": "c", "method": "POST", "url": "/v1/embeddings", "body": {}})",
        R"({"custom_id": "c", "method": "POST", "url": "/v1/completions", "body": 3})",
        R"({"custom_id": "c", "method": "POST", "url": "/v1/completions"})",
        R"({"custom_id": "c", "url": "/v1/completions", "body": {"model": 3, "prompt": "a"}})",
        R"({"custom_id": "c", "url": "/v1/completions", "body": {"prompt": "a", "top_p": 2}})"}) {
    const Json out = run_one(line);
    EXPECT_EQ(out.at("custom_id"), "c");
    EXPECT_EQ(out.at("response").at("status_code"), 400);
    EXPECT_THAT(out.at("error").at("message").get<std::string>(), ::testing::Not("")) << line;
  }
}

TEST_F(Batch, IdsAreEchoedAndLinesWithoutOneGetTheirNumber) {
  const std::vector<Json> out =
      run("{\"id\": \"text\", \"prompt\": \"a\", \"max_tokens\": 1}\n"
          "{\"id\": 17, \"prompt\": \"a\", \"max_tokens\": 1}\n"
          "{\"prompt\": \"a\", \"max_tokens\": 1}\n"
          "{\"id\": 1.5, \"prompt\": 3}\n",
          {.keep_order = true});
  std::vector<Json> ids;
  ids.reserve(out.size());
  for (const Json& line : out) ids.push_back(line.at("id"));
  EXPECT_THAT(ids, ElementsAre(Json("text"), Json(17), Json(2), Json(1.5)));
}

TEST_F(Batch, EmptyLinesAndCarriageReturnsAreNoRequests) {
  const std::vector<Json> out =
      run("\r\n{\"id\": 1, \"prompt\": \"a\", \"max_tokens\": 1}\r\n\n  \t\n"
          "{\"id\": 2, \"prompt\": \"a\", \"max_tokens\": 1}",
          {.keep_order = true});
  ASSERT_THAT(out, SizeIs(2));
  EXPECT_EQ(out[0].at("id"), 1);
  EXPECT_EQ(out[1].at("id"), 2);
  EXPECT_EQ(out[0].at("token_ids").size(), 1U);
}

TEST_F(Batch, KeepOrderWritesInInputOrderWhatFinishesInAnother) {
  std::vector<std::string> ids;
  for (const Json& line : run(varied_lines(40), {.keep_order = true, .max_queued = 8})) {
    ids.push_back(line.at("id"));
  }
  std::vector<std::string> expected;
  expected.reserve(40);
  for (int i = 0; i < 40; ++i) expected.push_back("r" + std::to_string(i));
  EXPECT_EQ(ids, expected);
}

TEST_F(Batch, ALineGivesTheSameAloneAndInTheBatch) {
  const std::string input = varied_lines(12);
  std::map<std::string, Json> together;
  for (const Json& line : run(input)) together[line.at("id")] = line;
  std::istringstream lines(input);
  for (std::string line; std::getline(lines, line);) {
    Json request = Json::parse(line);
    if (!request.contains("seed")) continue;
    const Json alone = run_one(line);
    EXPECT_EQ(alone, together.at(request.at("id")));
  }
}

TEST_F(Batch, ResumingAnInterruptedRunGivesTheLinesOfAnUninterruptedOne) {
  const std::string input = varied_lines(40) + "bad line\n";
  const TemporaryFile file;
  run_into(file, input);
  const std::vector<std::string> whole = sorted(file.lines());
  const std::string text = file.text();
  ASSERT_THAT(whole, SizeIs(41));
  for (const std::size_t cut :
       {std::size_t{0}, std::size_t{10}, text.size() / 2, text.size() - 1}) {
    file.write(text.substr(0, cut));
    run_into(file, input);
    EXPECT_EQ(sorted(file.lines()), whole) << "cut at byte " << cut;
  }
}

TEST_F(Batch, ResumingAFinishedRunAddsNothing) {
  const std::string input = varied_lines(5);
  const TemporaryFile file;
  run_into(file, input);
  const std::string text = file.text();
  const BatchProgress again = run_into(file, input);
  EXPECT_EQ(again.skipped, 5);
  EXPECT_EQ(again.finished, 0);
  EXPECT_EQ(file.text(), text);
}

TEST_F(Batch, AStoppedRunLeavesNothingInTheEngineAndIsResumed) {
  const std::string input = varied_lines(30);
  const TemporaryFile file;
  run_into(file, input);
  const std::vector<std::string> whole = sorted(file.lines());
  file.write("");
  const BatchProgress first = run_into(file, input, {.max_queued = 8}, 4);
  EXPECT_TRUE(first.stopped);
  EXPECT_FALSE(engine().step());
  EXPECT_LT(file.lines().size(), 30U);
  const BatchProgress second = run_into(file, input);
  EXPECT_EQ(second.skipped, static_cast<std::int64_t>(first.finished));
  EXPECT_EQ(sorted(file.lines()), whole);
}

TEST_F(Batch, OpenAiIdsStayUniqueAcrossAResumedRun) {
  std::string input;
  for (int i = 0; i < 6; ++i) {
    input += R"({"custom_id": ")" + std::to_string(i) + R"(", "url": "/v1/completions", "body": )" +
             R"({"prompt": "a", "max_tokens": )" + std::to_string(i + 1) + "}}\n";
  }
  const TemporaryFile file;
  run_into(file, input, {.max_queued = 2}, 2);
  run_into(file, input);
  std::set<Json> ids;
  for (const std::string& line : file.lines()) ids.insert(Json::parse(line).at("id"));
  EXPECT_THAT(ids, SizeIs(6));
}

TEST_F(Batch, AFullDiskEndsTheJobAndLeavesTheEngineIdle) {
  std::istringstream in(varied_lines(20));
  Result<OutputFile> output = OutputFile::open("/dev/full");
  ASSERT_TRUE(output.has_value());
  const auto done = run_batch(engine(), in, *output, {}, [](const BatchProgress&) { return true; });
  ASSERT_FALSE(done.has_value());
  EXPECT_THAT(done.error().message, HasSubstr("No space left"));
  EXPECT_FALSE(engine().step());
}

TEST_F(Batch, LinesWithoutASeedDifferFromEachOtherAndFollowTheJobsSeed) {
  const std::string line = R"({"prompt": "Once", "max_tokens": 12, "temperature": 1.5})";
  const std::string input = line + "\n" + line + "\n";
  const std::vector<Json> first = run(input, {.keep_order = true, .seed = 1});
  EXPECT_NE(first[0].at("token_ids"), first[1].at("token_ids"));
  EXPECT_EQ(run(input, {.keep_order = true, .seed = 1}), first);
  EXPECT_NE(run(input, {.keep_order = true, .seed = 2}), first);
}

TEST_F(Batch, SeveralCompletionsOfALineDifferAndTheFirstIsTheLinesOwn) {
  const Json out = run_one(R"({"prompt": "Once", "n": 3, "max_tokens": 8, "temperature": 1.5})");
  const Json& all = out.at("completions");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].at("token_ids"), out.at("token_ids"));
  EXPECT_NE(all[0].at("token_ids"), all[1].at("token_ids"));
  EXPECT_NE(all[1].at("token_ids"), all[2].at("token_ids"));
  EXPECT_EQ(all[2].at("index"), 2);
  std::size_t tokens = 0;
  for (const Json& c : all) tokens += c.at("token_ids").size();
  EXPECT_EQ(out.at("completion_tokens"), tokens);
}

TEST_F(Batch, LogprobsAreOfTheChosenTokensAndOfTheAlternatives) {
  const Json out =
      run_one(R"({"prompt": "Once", "max_tokens": 4, "temperature": 0, "logprobs": 3})");
  ASSERT_EQ(out.at("logprobs").size(), 4U);
  ASSERT_EQ(out.at("top_logprobs").size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(out.at("top_logprobs").at(i).size(), 3U);
    const Json& best = out.at("top_logprobs").at(i).at(0);
    EXPECT_EQ(best.at(0), out.at("token_ids").at(i));  // greedy takes the most likely
    EXPECT_EQ(best.at(1), out.at("logprobs").at(i));
  }
}

TEST_F(Batch, AStopStringEndsTheTextBeforeIt) {
  const std::string head = R"({"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0)";
  const std::string text = run_one(head + "}").at("text");
  const std::string stop = text.substr(8, 3);
  const Json out = run_one(head + R"(, "stop": )" + Json(stop).dump() + "}");
  EXPECT_EQ(out.at("finish_reason"), "stop");
  EXPECT_EQ(out.at("text"), text.substr(0, text.find(stop)));
}

}  // namespace
}  // namespace spate::test
