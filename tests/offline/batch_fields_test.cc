// Fields of batch lines beyond prompt and sampling: log-probabilities of the prompt, what else
// templates read of a conversation.
#include <filesystem>

#include <gmock/gmock.h>

#include "offline/batch_line.h"
#include "offline/score_line.h"
#include "tests/offline/offline_fixture.h"

namespace spate::test {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

Json answer(Engine& engine, const std::string& line) {
  const TemporaryFile file;
  std::istringstream in(line + "\n");
  Result<OutputFile> output = OutputFile::open(file.path());
  EXPECT_TRUE(output.has_value());
  const auto done = run_batch(engine, in, *output, {}, [](const BatchProgress&) { return true; });
  EXPECT_TRUE(done.has_value());
  const std::vector<std::string> lines = file.lines();
  EXPECT_THAT(lines, SizeIs(1));
  return lines.empty() ? Json() : Json::parse(lines.front());
}

class BatchFields : public StoriesTest {};

TEST_F(BatchFields, PromptLogprobsAreThoseThatScoreGives) {
  const std::string text = "Once upon a time there was";
  const Json out =
      answer(engine(), R"({"prompt": ")" + text + R"(", "max_tokens": 1, "prompt_logprobs": 2})");
  Result<ScoreLine> line = parse_score_line(engine(), R"({"text": ")" + text + "\"}", 0, 2);
  ASSERT_TRUE(line.has_value());
  std::vector<RequestResult> results;
  results.push_back(*engine().complete(score_request(*line, line->sequences.front())));
  const Json score = Json::parse(score_result_line(*line, results));

  EXPECT_EQ(out.at("prompt_token_ids"), score.at("token_ids"));
  EXPECT_EQ(out.at("prompt_logprobs"), score.at("logprobs"));
  EXPECT_EQ(out.at("prompt_top_logprobs"), score.at("top_logprobs"));
  EXPECT_TRUE(out.at("prompt_logprobs").at(0).is_null());
}

TEST_F(BatchFields, PromptLogprobsAreThereOnlyWhenAskedFor) {
  const Json out = answer(engine(), R"({"prompt": "Once", "max_tokens": 1})");
  EXPECT_FALSE(out.contains("prompt_logprobs"));
  EXPECT_FALSE(out.contains("prompt_token_ids"));
}

TEST_F(BatchFields, PromptLogprobsInOpenAisShapeAreObjectsByTokenId) {
  const Json ids(*engine().tokenize("Once upon a time"));
  const Json out = answer(
      engine(),
      R"({"custom_id": "c", "url": "/v1/completions", "body": {"prompt": "Once upon a time", )"
      R"("max_tokens": 1, "prompt_logprobs": 1}})");
  const Json& tokens = out.at("response").at("body").at("choices").at(0).at("prompt_logprobs");
  ASSERT_EQ(tokens.size(), ids.size());
  EXPECT_TRUE(tokens.at(0).is_null());
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const Json& given = tokens.at(i).at(ids.at(i).dump());
    EXPECT_LE(given.at("logprob").get<double>(), 0.0);
    EXPECT_EQ(given.at("decoded_token"),
              engine().detokenize(std::vector{ids.at(i).get<TokenId>()}));
  }
}

TEST_F(BatchFields, PromptLogprobsOfAConversationAreInItsBody) {
  const Json out = answer(
      engine(), R"({"custom_id": "c", "url": "/v1/chat/completions", "body": {"max_tokens": 1, )"
                R"("messages": [{"role": "user", "content": "Hi"}], "prompt_logprobs": 0}})");
  const Json& body = out.at("response").at("body");
  EXPECT_EQ(body.at("prompt_logprobs").size(), body.at("usage").at("prompt_tokens"));
}

/// The built-in model with another chat template.
class Template : public ::testing::Test {
 protected:
  void SetUp() override {
    namespace fs = std::filesystem;
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    for (const auto& file : fs::directory_iterator(stories_folder())) {
      fs::create_symlink(file.path(), folder_ / file.path().filename());
    }
    std::ofstream(folder_ / "chat_template.jinja")
        << "{% for m in messages %}[{{ m.role }}] {{ m.content }}"
           "{% if m.reasoning_content %} ({{ m.reasoning_content }}){% endif %}"
           "{% for c in m.tool_calls or [] %} -> {{ c.arguments | tojson }}{% endfor %}"
           "{% endfor %}{% if tools %} tools {{ tools | tojson }}{% endif %} {{ mood }}";
    engine_ = open({.model = folder_.string(), .threads = 1});
    ASSERT_NE(engine_, nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// The text that the template makes of a line's fields.
  std::string text_of(const std::string& fields) {
    const Json out =
        answer(*engine_, "{\"max_tokens\": 1, \"prompt_logprobs\": 0, " + fields + "}");
    if (out.contains("error")) return out.at("error");
    return engine_->detokenize(out.at("prompt_token_ids").get<std::vector<TokenId>>());
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("spate_template_" + std::to_string(getpid()));
  std::unique_ptr<Engine> engine_;
};

TEST_F(Template, SeesEveryFieldOfAMessage) {
  EXPECT_EQ(text_of(R"("messages": [{"role": "assistant", "content": "Four.", )"
                    R"("reasoning_content": "two and two"}])"),
            "[assistant] Four. (two and two) ");
}

TEST_F(Template, SeesKeysInTheirOrder) {
  EXPECT_EQ(
      text_of(R"("messages": [{"role": "assistant", "content": null, "tool_calls": )"
              R"([{"arguments": {"z": 1, "a": 2}}]}], "tools": [{"type": "x", "name": "y"}])"),
      R"([assistant] None -> {"z": 1, "a": 2} tools [{"type": "x", "name": "y"}] )");
}

TEST_F(Template, SeesVariablesOfItsOwn) {
  EXPECT_EQ(text_of(R"("messages": [{"role": "user", "content": "Hi."}], )"
                    R"("chat_template_kwargs": {"mood": "glad"})"),
            "[user] Hi. glad");
}

TEST_F(Template, FieldsOfTheWrongShapeAreErrorsOfTheLine) {
  const std::string messages = R"("messages": [{"role": "user", "content": "Hi."}], )";
  EXPECT_THAT(text_of(messages + R"("tools": 3)"), HasSubstr("\"tools\" must be an array"));
  EXPECT_THAT(text_of(messages + R"("chat_template_kwargs": [1])"),
              HasSubstr("\"chat_template_kwargs\" must be an object"));
}

TEST_F(Template, SeesTheFieldsOfAMessageFromCpp) {
  const std::vector<ChatMessage> messages = {
      {.role = "assistant", .content = "Four.", .fields = {{"reasoning_content", "2 + 2"}}}};
  const auto tokens = engine_->tokenize_chat(messages);
  ASSERT_TRUE(tokens.has_value()) << tokens.error().message;
  EXPECT_EQ(engine_->detokenize(*tokens), "[assistant] Four. (2 + 2) ");
}

TEST_F(Template, AConversationThatIsNoObjectIsAnError) {
  EXPECT_FALSE(engine_->tokenize_chat_json("[]").has_value());
  EXPECT_FALSE(engine_->tokenize_chat_json("{").has_value());
}

}  // namespace
}  // namespace spate::test
