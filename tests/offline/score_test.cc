// Score jobs on the built-in model: log-probabilities, options, documents.
#include <cmath>

#include <gmock/gmock.h>

#include "offline/score_job.h"
#include "offline/score_line.h"
#include "tests/offline/offline_fixture.h"

namespace spate::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kText = "Once upon a time there was a little girl who lived in a house.";

class Score : public StoriesTest {
 protected:
  static std::vector<Json> run(const std::string& input, std::int64_t top_logprobs = 0) {
    const TemporaryFile file;
    std::istringstream in(input);
    Result<OutputFile> output = OutputFile::open(file.path());
    EXPECT_TRUE(output.has_value());
    const auto done = run_score(engine(), in, *output, top_logprobs, [](const ScoreProgress&) {});
    EXPECT_TRUE(done.has_value());
    EXPECT_THAT(file.text(), Not(HasSubstr("nan")));
    std::vector<Json> out;
    for (const std::string& line : file.lines()) out.push_back(Json::parse(line));
    return out;
  }

  static Json run_one(const Json& line, std::int64_t top_logprobs = 0) {
    const std::vector<Json> out = run(line.dump() + "\n", top_logprobs);
    EXPECT_THAT(out, SizeIs(1));
    return out.empty() ? Json() : out.front();
  }
};

double sum_from(const Json& logprobs, std::size_t first) {
  double sum = 0.0;
  for (std::size_t i = first; i < logprobs.size(); ++i) sum += logprobs.at(i).get<double>();
  return sum;
}

TEST_F(Score, EveryTokenButTheFirstHasALogprobAndPerplexityFollowsFromTheirSum) {
  const Json out = run_one({{"id", "a"}, {"text", kText}});
  const auto ids = out.at("token_ids").get<std::vector<TokenId>>();
  EXPECT_EQ(out.at("id"), "a");
  EXPECT_EQ(ids, *engine().tokenize(kText));
  const Json& logprobs = out.at("logprobs");
  ASSERT_EQ(logprobs.size(), ids.size());
  EXPECT_TRUE(logprobs.at(0).is_null());
  for (std::size_t i = 1; i < ids.size(); ++i) EXPECT_LE(logprobs.at(i).get<double>(), 0.0);
  const double mean = sum_from(logprobs, 1) / static_cast<double>(ids.size() - 1);
  EXPECT_DOUBLE_EQ(out.at("perplexity").get<double>(), std::exp(-mean));
  EXPECT_FALSE(out.contains("top_logprobs"));
}

TEST_F(Score, TokenIdsGiveWhatTheirTextGives) {
  const Json ids(*engine().tokenize(kText));
  EXPECT_EQ(run_one({{"id", 1}, {"token_ids", ids}}), run_one({{"id", 1}, {"text", kText}}));
}

TEST_F(Score, ASingleTokenHasNoPerplexity) {
  const Json out = run_one({{"token_ids", {5}}});
  EXPECT_EQ(out.at("logprobs"), Json::array({nullptr}));
  EXPECT_TRUE(out.at("perplexity").is_null());
}

TEST_F(Score, TopLogprobsAreTheMostLikelyTokensBestFirst) {
  const Json out = run_one({{"text", kText}}, 3);
  const Json& top = out.at("top_logprobs");
  ASSERT_EQ(top.size(), out.at("token_ids").size());
  EXPECT_TRUE(top.at(0).is_null());
  for (std::size_t i = 1; i < top.size(); ++i) {
    ASSERT_EQ(top.at(i).size(), 3U);
    EXPECT_GE(top.at(i).at(0).at(1), top.at(i).at(1).at(1));
    EXPECT_GE(top.at(i).at(1).at(1), top.at(i).at(2).at(1));
    EXPECT_GE(top.at(i).at(0).at(1), out.at("logprobs").at(i));
    for (const Json& t : top.at(i)) {
      const bool given = t.at(0) == out.at("token_ids").at(i);
      EXPECT_TRUE(!given || t.at(1) == out.at("logprobs").at(i));
    }
  }
}

TEST_F(Score, TheLikeliestContinuationIsTheBestAndEachHasTheLogprobOfItsTokens) {
  const std::string prompt = "Once upon a";
  const Json out = run_one({{"prompt", prompt}, {"continuations", {" xylophone", " time"}}});
  EXPECT_EQ(out.at("best"), 1);
  const auto n_prompt = engine().tokenize(prompt)->size();
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string text = prompt + (i == 0 ? " xylophone" : " time");
    const Json whole = run_one({{"text", text}});
    const Json& c = out.at("continuations").at(i);
    EXPECT_EQ(c.at("tokens"), whole.at("token_ids").size() - n_prompt);
    EXPECT_DOUBLE_EQ(c.at("logprob").get<double>(), sum_from(whole.at("logprobs"), n_prompt));
  }
}

TEST_F(Score, AContinuationIsGreedyWhenTheModelWouldHaveChosenIt) {
  Request request{.prompt = *engine().tokenize("Once upon a")};
  request.sampling = {.max_tokens = 1, .temperature = 0.0F};
  const std::string greedy = engine().complete(request)->completions.front().text;
  const Json out = run_one({{"prompt", "Once upon a"}, {"continuations", {greedy, " xylophone"}}});
  EXPECT_EQ(out.at("continuations").at(0).at("is_greedy"), true);
  EXPECT_EQ(out.at("continuations").at(1).at("is_greedy"), false);
  EXPECT_EQ(out.at("best"), 0);
}

TEST_F(Score, BadLinesGetAnErrorEachAndTheOutputKeepsTheInputsOrder) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{", "not valid JSON"},
      {R"({"text": 3})", "text"},
      {R"({"text": ""})", "no tokens"},
      {R"({"token_ids": [99999]})", "99999"},
      {R"({"prompt": "a"})", "exactly one of"},
      {R"({"continuations": ["a"]})", "exactly one of"},
      {R"({"prompt": "a", "continuations": []})", "continuations"},
      {R"({"prompt": "a", "continuations": [" b", 3]})", "continuations"},
      {R"({"prompt": "a", "continuations": [" b", ""]})", "adds no token"},
      {R"({"prompt": "", "continuations": ["b", "c"]})", "has no tokens"},
      {R"({"token_ids": )" + Json(std::vector<int>(3000, 5)).dump() + "}", "3000"}};
  std::string input;
  for (const auto& [line, message] : bad) input += line + "\r\n\n{\"text\": \"Once upon\"}\n";
  const std::vector<Json> out = run(input);
  ASSERT_THAT(out, SizeIs(2 * bad.size()));
  for (std::size_t i = 0; i < bad.size(); ++i) {
    ASSERT_TRUE(out[2 * i].contains("error")) << bad[i].first;
    EXPECT_THAT(out[2 * i].at("error").get<std::string>(), HasSubstr(bad[i].second));
    EXPECT_EQ(out[2 * i].at("id"), 2 * i);
    EXPECT_TRUE(out[2 * i + 1].contains("perplexity"));
  }
}

TEST_F(Score, MoreTopLogprobsThanTokensInTheVocabularyIsAnErrorOfTheLine) {
  EXPECT_THAT(run_one({{"text", kText}}, 5000).at("error").get<std::string>(),
              HasSubstr("vocabulary (4096)"));
}

TEST_F(Score, ADocumentThatFitsOneWindowHasThePerplexityOfItsLine) {
  const Result<Perplexity> p = score_document(engine(), kText, {});
  ASSERT_TRUE(p.has_value()) << p.error().message;
  const Json line = run_one({{"text", kText}});
  EXPECT_EQ(p->tokens, line.at("token_ids").size() - 1);
  EXPECT_DOUBLE_EQ(p->negative_log_likelihood, -sum_from(line.at("logprobs"), 1));
  EXPECT_DOUBLE_EQ(p->value(), line.at("perplexity").get<double>());
}

TEST_F(Score, WindowsScoreEveryTokenOnceInItsWindow) {
  const auto ids = *engine().tokenize(kText);
  const std::size_t window = 6;
  const std::size_t stride = 2;
  double expected = 0.0;
  std::size_t scored = 1;
  for (std::size_t begin = 0; scored < ids.size(); begin += stride) {
    const std::size_t end = std::min(ids.size(), begin + window);
    const std::vector<TokenId> part(ids.data() + begin, ids.data() + end);
    expected -= sum_from(run_one({{"token_ids", part}}).at("logprobs"), scored - begin);
    scored = end;
  }
  const auto p = score_document(engine(), kText, {.window = 6, .stride = 2});
  ASSERT_TRUE(p.has_value()) << p.error().message;
  EXPECT_EQ(p->tokens, static_cast<std::int64_t>(ids.size()) - 1);
  EXPECT_DOUBLE_EQ(p->negative_log_likelihood, expected);
}

TEST_F(Score, ADocumentOfManyWindowsIsScoredWhole) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += kText;
  const auto p = score_document(engine(), text, {.window = 16, .stride = 2});
  ASSERT_TRUE(p.has_value()) << p.error().message;
  EXPECT_EQ(p->tokens, static_cast<std::int64_t>(engine().tokenize(text)->size()) - 1);
  EXPECT_TRUE(std::isfinite(p->value()));
}

TEST_F(Score, WindowsThatCannotBeAreRefusedWithTheirNumbers) {
  for (const WindowOptions o :
       {WindowOptions{.window = 1}, WindowOptions{.window = 5000},
        WindowOptions{.window = 8, .stride = 8}, WindowOptions{.window = 8, .stride = -1}}) {
    const auto p = score_document(engine(), kText, o);
    ASSERT_FALSE(p.has_value());
    EXPECT_THAT(p.error().message, HasSubstr("window " + std::to_string(o.window)));
  }
  EXPECT_FALSE(score_document(engine(), "", {}).has_value());
}

}  // namespace
}  // namespace spate::test
