#include "sample/params.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr std::int64_t kVocab = 1000;

std::string refusal(const SamplingParams& params) {
  const Result<void> valid = validate(params, kVocab);
  return valid ? "accepted" : valid.error().message;
}

std::string refusal(const char* text) {
  const auto parsed = sampling_from_json(Json::parse(text), {});
  return parsed ? "accepted" : parsed.error().message;
}

SamplingParams read(const char* text, const SamplingParams& defaults = {}) {
  const auto parsed = sampling_from_json(Json::parse(text), defaults);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? parsed->params : SamplingParams{};
}

TEST(Validate, AcceptsTheDefaultsAndTheEndsOfTheRanges) {
  EXPECT_EQ(refusal(SamplingParams{}), "accepted");
  EXPECT_EQ(refusal({.max_tokens = 1,
                     .min_tokens = 1,
                     .temperature = 0,
                     .top_k = -1,
                     .top_p = 1e-9F,
                     .min_p = 1,
                     .typical_p = 1e-9F,
                     .presence_penalty = -2,
                     .frequency_penalty = 2,
                     .logit_bias = {{0, -100.0F}, {999, 100.0F}},
                     .n = 1024,
                     .logprobs = 1000}),
            "accepted");
}

TEST(Validate, NamesTheFieldItsValueAndTheRange) {
  EXPECT_EQ(refusal({.max_tokens = 0}), "max_tokens is 0; it must be at least 1");
  EXPECT_EQ(refusal({.max_tokens = 5, .min_tokens = 6}),
            "min_tokens is 6; it must be from 0 to max_tokens (5)");
  EXPECT_EQ(refusal({.temperature = -0.5F}),
            "temperature is -0.5; it must be a finite number, 0 (greedy) or more");
  EXPECT_EQ(refusal({.top_k = -2}), "top_k is -2; it must be at least 1, or 0 or -1 for off");
  EXPECT_EQ(refusal({.top_p = 0}), "top_p is 0; it must be above 0 and at most 1 (off)");
  EXPECT_EQ(refusal({.min_p = 1.5F}), "min_p is 1.5; it must be from 0 (off) to 1");
  EXPECT_EQ(refusal({.typical_p = 0}), "typical_p is 0; it must be above 0 and at most 1 (off)");
  EXPECT_EQ(refusal({.repetition_penalty = 0}),
            "repetition_penalty is 0; it must be a finite number above 0; 1 is off");
  EXPECT_EQ(refusal({.presence_penalty = 3}), "presence_penalty is 3; it must be from -2 to 2");
  EXPECT_EQ(refusal({.frequency_penalty = -3}), "frequency_penalty is -3; it must be from -2 to 2");
  EXPECT_EQ(refusal({.n = 0}), "n is 0; it must be from 1 to 1024");
  EXPECT_EQ(refusal({.logprobs = -1}),
            "logprobs is -1; it must be from 0 to the size of the vocabulary (1000)");
}

TEST(Validate, RefusesNumbersThatAreNone) {
  EXPECT_THAT(refusal({.temperature = NAN}), HasSubstr("temperature is nan"));
  EXPECT_THAT(refusal({.temperature = INFINITY}), HasSubstr("temperature is inf"));
  EXPECT_THAT(refusal({.top_p = NAN}), HasSubstr("top_p is nan"));
  EXPECT_THAT(refusal({.min_p = NAN}), HasSubstr("min_p is nan"));
  EXPECT_THAT(refusal({.typical_p = NAN}), HasSubstr("typical_p is nan"));
  EXPECT_THAT(refusal({.repetition_penalty = NAN}), HasSubstr("repetition_penalty is nan"));
  EXPECT_THAT(refusal({.presence_penalty = NAN}), HasSubstr("presence_penalty is nan"));
  EXPECT_THAT(refusal({.frequency_penalty = NAN}), HasSubstr("frequency_penalty is nan"));
  EXPECT_THAT(refusal({.logit_bias = {{5, NAN}}}), HasSubstr("logit_bias of token 5 is nan"));
}

TEST(Validate, RefusesTokensOutsideTheVocabulary) {
  EXPECT_EQ(refusal({.stop_token_ids = {1000}}),
            "a token id in stop_token_ids is 1000; it must be from 0 to 999 for this model");
  EXPECT_THAT(refusal({.logit_bias = {{-1, 1.0F}}}), HasSubstr("logit_bias is -1"));
  EXPECT_THAT(refusal({.allowed_token_ids = {5, 2000}}), HasSubstr("allowed_token_ids is 2000"));
  EXPECT_THAT(refusal({.banned_token_ids = {-7}}), HasSubstr("banned_token_ids is -7"));
}

TEST(Validate, RefusesContradictions) {
  EXPECT_THAT(refusal({.allowed_token_ids = {3, 4}, .banned_token_ids = {4, 3, 9}}),
              HasSubstr("holds all 2 allowed_token_ids"));
  EXPECT_THAT(refusal({.stop = {"ok", ""}}), HasSubstr("empty string"));
  EXPECT_THAT(refusal({.stop = {"\xff"}}), HasSubstr("not UTF-8"));
}

TEST(SamplingFromJson, ReadsEveryField) {
  const SamplingParams p = read(R"({
    "max_tokens": 7, "min_tokens": 2, "temperature": 0.5, "top_k": 40, "top_p": 0.9,
    "min_p": 0.05, "typical_p": 0.8, "repetition_penalty": 1.1, "presence_penalty": 0.25,
    "frequency_penalty": -0.5, "logit_bias": {"5": -100, "17": 1.5}, "allowed_token_ids": [1, 2],
    "banned_token_ids": [3], "stop": ["a", "b"], "stop_token_ids": [9],
    "include_stop_str_in_output": true, "ignore_eos": true, "n": 3, "seed": 18446744073709551615,
    "logprobs": 4, "prompt_logprobs": 1, "skip_special_tokens": false})");

  EXPECT_EQ(p.max_tokens, 7);
  EXPECT_EQ(p.min_tokens, 2);
  EXPECT_EQ(p.temperature, 0.5F);
  EXPECT_EQ(p.top_k, 40);
  EXPECT_EQ(p.top_p, 0.9F);
  EXPECT_EQ(p.min_p, 0.05F);
  EXPECT_EQ(p.typical_p, 0.8F);
  EXPECT_EQ(p.repetition_penalty, 1.1F);
  EXPECT_EQ(p.presence_penalty, 0.25F);
  EXPECT_EQ(p.frequency_penalty, -0.5F);
  EXPECT_THAT(p.logit_bias, ElementsAre(Pair(5, -100.0F), Pair(17, 1.5F)));
  EXPECT_THAT(p.allowed_token_ids, ElementsAre(1, 2));
  EXPECT_THAT(p.banned_token_ids, ElementsAre(3));
  EXPECT_THAT(p.stop, ElementsAre("a", "b"));
  EXPECT_THAT(p.stop_token_ids, ElementsAre(9));
  EXPECT_TRUE(p.include_stop_str_in_output);
  EXPECT_TRUE(p.ignore_eos);
  EXPECT_EQ(p.n, 3);
  EXPECT_EQ(p.seed, 18446744073709551615ULL);
  EXPECT_EQ(p.logprobs, 4);
  EXPECT_EQ(p.prompt_logprobs, 1);
  EXPECT_FALSE(p.skip_special_tokens);
}

TEST(SamplingFromJson, KeepsTheDefaultWhereAFieldIsAbsentOrNull) {
  const SamplingParams defaults{.temperature = 0.7F, .top_k = 20, .seed = 3};

  const SamplingParams p = read(R"({"temperature": null, "top_k": 5})", defaults);

  EXPECT_EQ(p.temperature, 0.7F);
  EXPECT_EQ(p.top_k, 5);
  EXPECT_EQ(p.seed, 3U);
}

TEST(SamplingFromJson, ReportsUnknownFields) {
  const auto parsed =
      sampling_from_json(Json::parse(R"({"n": 1, "tempratur": 1, "model": "m"})"), {});

  ASSERT_TRUE(parsed);
  EXPECT_THAT(parsed->unknown, ElementsAre("model", "tempratur"));
}

TEST(SamplingFromJson, NamesTheFieldAndTheValueOfAWrongType) {
  EXPECT_EQ(refusal(R"({"temperature": "hot"})"), R"(temperature is "hot"; it must be a number)");
  EXPECT_EQ(refusal(R"({"n": 1.5})"), "n is 1.5; it must be an integer");
  EXPECT_EQ(refusal(R"({"n": true})"), "n is true; it must be an integer");
  EXPECT_EQ(refusal(R"({"ignore_eos": 1})"), "ignore_eos is 1; it must be true or false");
  EXPECT_THAT(refusal(R"({"stop": [1]})"), HasSubstr("a string or a list of strings"));
  EXPECT_THAT(refusal(R"({"stop_token_ids": [-1]})"), HasSubstr("a list of token ids"));
  EXPECT_THAT(refusal(R"({"stop_token_ids": [99999999999]})"), HasSubstr("a list of token ids"));
  EXPECT_THAT(refusal(R"({"temperature": 1e300})"), HasSubstr("32-bit float"));
  EXPECT_THAT(refusal(R"({"max_tokens": 18446744073709551615})"), HasSubstr("an integer"));
  EXPECT_THAT(refusal(R"([1])"), HasSubstr("a JSON object"));
}

TEST(SamplingFromJson, CutsLongValuesInMessages) {
  const std::string text = R"({"temperature": ")" + std::string(5000, 'x') + R"("})";

  EXPECT_LT(refusal(text.c_str()).size(), 150U);
}

TEST(SamplingFromJson, SurvivesDeepNesting) {
  const std::string text =
      R"({"stop": )" + std::string(200000, '[') + std::string(200000, ']') + "}";

  EXPECT_THAT(refusal(text.c_str()), HasSubstr("stop is a nested list"));
}

TEST(SamplingFromJson, TakesIntegersWrittenAsFloats) { EXPECT_EQ(read(R"({"n": 3.0})").n, 3); }

TEST(SamplingFromJson, TakesOneStopStringOrMany) {
  EXPECT_THAT(read(R"({"stop": "x"})").stop, ElementsAre("x"));
  EXPECT_THAT(read(R"({"stop": []})", {.stop = {"y"}}).stop, ElementsAre());
}

TEST(SamplingFromJson, ASeedOfMinusOneIsNone) {
  EXPECT_EQ(read(R"({"seed": -1})", {.seed = 3}).seed, std::nullopt);
  EXPECT_THAT(refusal(R"({"seed": -2})"), HasSubstr("seed is -2"));
}

TEST(SamplingFromJson, TakesBothNamesOfMaxTokens) {
  EXPECT_EQ(read(R"({"max_completion_tokens": 5})").max_tokens, 5);
  EXPECT_EQ(read(R"({"max_completion_tokens": 5, "max_tokens": 5})").max_tokens, 5);
  EXPECT_THAT(refusal(R"({"max_completion_tokens": 5, "max_tokens": 6})"),
              HasSubstr("the same as max_tokens (6)"));
}

TEST(SamplingFromJson, TakesLogprobsOfCompletionsAndOfChat) {
  EXPECT_EQ(read(R"({"logprobs": 0})").logprobs, 0);
  EXPECT_EQ(read(R"({"logprobs": true})").logprobs, 0);
  EXPECT_EQ(read(R"({"logprobs": true, "top_logprobs": 4})").logprobs, 4);
  EXPECT_EQ(read(R"({"logprobs": false})", {.logprobs = 2}).logprobs, std::nullopt);
  EXPECT_THAT(refusal(R"({"top_logprobs": 4})"), HasSubstr("logprobs: true"));
  EXPECT_THAT(refusal(R"({"logprobs": 3, "top_logprobs": 4})"), HasSubstr("logprobs is 3"));
}

TEST(SamplingFromJson, RefusesBadLogitBiases) {
  EXPECT_THAT(refusal(R"({"logit_bias": {"x": 1}})"), HasSubstr("a token id"));
  EXPECT_THAT(refusal(R"({"logit_bias": {"1": "a"}})"), HasSubstr("logit_bias[1]"));
  EXPECT_THAT(refusal(R"({"logit_bias": {"1": 1, "01": 2}})"), HasSubstr("1 is there twice"));
  EXPECT_THAT(refusal(R"({"logit_bias": [1]})"), HasSubstr("an object"));
}

TEST(SamplingFromJson, RefusesBadWordsWithARemedy) {
  EXPECT_THAT(refusal(R"({"bad_words": ["x"]})"), HasSubstr("banned_token_ids"));
  EXPECT_EQ(refusal(R"({"bad_words": []})"), "accepted");
}

TEST(GenerationDefaults, AreWhatTheModelRecommends) {
  const auto p = generation_defaults(
      Json::parse(R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95,
                      "repetition_penalty": 1.05, "eos_token_id": [1, 2], "min_p": null})"),
      {});

  ASSERT_TRUE(p);
  EXPECT_EQ(p->temperature, 0.6F);
  EXPECT_EQ(p->top_k, 20);
  EXPECT_EQ(p->top_p, 0.95F);
  EXPECT_EQ(p->repetition_penalty, 1.05F);
  EXPECT_EQ(p->min_p, 0.0F);
}

TEST(GenerationDefaults, AModelThatDoesNotSampleIsGreedy) {
  const auto p =
      generation_defaults(Json::parse(R"({"do_sample": false, "temperature": 0.6})"), {});

  ASSERT_TRUE(p);
  EXPECT_EQ(p->temperature, 0.0F);
}

TEST(GenerationDefaults, GiveWayToTheRequest) {
  const auto defaults =
      generation_defaults(Json::parse(R"({"do_sample": false, "top_k": 20})"), {});

  const SamplingParams p = read(R"({"temperature": 0.9})", *defaults);

  EXPECT_EQ(p.temperature, 0.9F);
  EXPECT_EQ(p.top_k, 20);
}

TEST(GenerationDefaults, NameTheFileInErrors) {
  const auto p = generation_defaults(Json::parse(R"({"top_k": "many"})"), {});

  ASSERT_FALSE(p);
  EXPECT_EQ(p.error().message, R"(generation_config.json: top_k is "many"; it must be an integer)");
}

}  // namespace
}  // namespace spate
