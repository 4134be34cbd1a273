// Generation on the GPU with the built-in model: the same story as on the CPU, whatever runs beside
// it; plans made ahead, graphs, preemption, cancels and stops.
#include <map>

#include <gtest/gtest.h>

#include "tests/engine/engine_fixture.h"

namespace spate::test {
namespace {

using Tokens = std::vector<TokenId>;

EngineOptions gpu(EngineOptions options = {}) {
  options.model = stories_folder();
  options.device = "cuda";
  return options;
}

Request story(const Tokens& prompt, std::int64_t max_tokens) {
  Request request{.prompt = prompt};
  request.sampling = {.max_tokens = max_tokens, .temperature = 0.0F, .ignore_eos = true};
  return request;
}

Tokens complete(Engine& engine, Request request) {
  auto result = engine.complete(std::move(request));
  if (!result || result->completions.front().error) {
    ADD_FAILURE() << (result ? result->completions.front().error->message : result.error().message);
    return {};
  }
  return result->completions.front().token_ids;
}

Tokens prompt_number(std::uint32_t seed, std::int64_t n) {
  Tokens ids;
  for (std::int64_t i = 0; i < n; ++i) {
    seed = seed * 1664525U + 1013904223U;
    ids.push_back(static_cast<TokenId>((seed >> 8) % 4096U));
  }
  return ids;
}

/// Runs all requests together; tokens by request, in the order of submission.
std::vector<Tokens> together(Engine& engine, std::vector<Request> requests) {
  std::vector<Tokens> out(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_done = [&out, i](const RequestResult& r) {
      EXPECT_FALSE(r.completions.front().error);
      out[i] = r.completions.front().token_ids;
    };
    EXPECT_TRUE(engine.submit(std::move(requests[i])));
  }
  engine.run_until_idle();
  return out;
}

/// How many tokens agree before the first that differs.
std::size_t common(const Tokens& a, const Tokens& b) {
  return static_cast<std::size_t>(
      std::mismatch(a.begin(),
                    a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())),
                    b.begin())
          .first -
      a.begin());
}

TEST(GpuGeneration, WritesTheSameStoryAsTheCpu) {
  const auto cpu = open({.model = stories_folder(), .dtype = "f32"});
  const auto engine = open(gpu({.dtype = "f32"}));
  const Tokens prompt = cpu->tokenize("Once upon a time, there was a little").value();

  EXPECT_EQ(complete(*engine, story(prompt, 120)), complete(*cpu, story(prompt, 120)));
}

TEST(GpuGeneration, WritesTheSameStoryInBf16AndF16) {
  for (const char* type : {"bf16", "f16"}) {
    const auto cpu = open({.model = stories_folder(), .dtype = type});
    const Tokens prompt = cpu->tokenize("Once upon a time, there was a little").value();
    const Tokens want = complete(*cpu, story(prompt, 60));
    for (const bool deterministic : {false, true}) {  // other kernels
      const auto engine = open(gpu({.dtype = type, .deterministic = deterministic}));
      EXPECT_EQ(complete(*engine, story(prompt, 60)), want) << type << " " << deterministic;
    }
  }
}

TEST(GpuGeneration, RunsManyRequestsOfAllLengthsAtOnce) {
  const auto engine =
      open(gpu({.dtype = "f32", .kv_memory = std::int64_t{1} << 30, .deterministic = false}));
  std::vector<Request> requests;
  std::vector<Tokens> alone;
  for (std::uint32_t i = 0; i < 70; ++i) {
    const Tokens prompt = prompt_number(i, 1 + (i * 37) % 300);
    const auto n = static_cast<std::int64_t>(1 + i * 13 % 60);
    requests.push_back(story(prompt, n));
    alone.push_back(complete(*engine, story(prompt, n)));
  }
  const std::vector<Tokens> crowd = together(*engine, std::move(requests));
  // Other kernels sum in another order: in f32 a tie of two tokens is rare, but there may be one.
  std::size_t different = 0;
  for (std::size_t i = 0; i < crowd.size(); ++i) {
    ASSERT_EQ(crowd[i].size(), alone[i].size());
    different += crowd[i] != alone[i] ? 1 : 0;
  }
  EXPECT_LE(different, 2U);
}

TEST(GpuGeneration, PreemptedSequencesGoOnWhereTheyWere) {
  // Blocks of 128 tokens; the cache holds a few sequences, and their answers turn out long.
  const auto wide = open(gpu({.dtype = "f32", .kv_memory = std::int64_t{1} << 30}));
  const auto per_block = wide->info().memory.at(1).n_bytes / (wide->info().kv_tokens / 128);
  const auto narrow = open(gpu({.dtype = "f32", .kv_cache = "paged", .kv_memory = 12 * per_block}));
  const auto make = [] {
    std::vector<Request> requests;
    for (std::uint32_t i = 0; i < 40; ++i) requests.push_back(story(prompt_number(i, 20), 2));
    for (std::uint32_t i = 0; i < 10; ++i) {
      requests.push_back(story(prompt_number(i + 99, 100), 250));
    }
    // Or the lengths would be certain, and kept free.
    for (Request& r : requests) r.sampling.stop = {"no such text"};
    return requests;
  };
  const std::vector<Tokens> expected = together(*wide, make());
  const std::vector<Tokens> found = together(*narrow, make());

  EXPECT_GT(narrow->stats().preemptions, 0);
  std::size_t same = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].size(), expected[i].size());
    same += found[i] == expected[i] ? 1 : 0;
  }
  EXPECT_GE(same + 2, found.size());
}

TEST(GpuGeneration, StopsWhereTheTextSaysSo) {
  const auto engine = open(gpu());
  const Tokens prompt = engine->tokenize("Once upon a time, there was a little").value();
  Request request = story(prompt, 100);
  const Tokens all = complete(*engine, story(prompt, 100));
  request.sampling.stop_token_ids = {all[20]};
  const std::size_t first =
      static_cast<std::size_t>(std::find(all.begin(), all.end(), all[20]) - all.begin());
  const Tokens cut = complete(*engine, std::move(request));

  ASSERT_EQ(cut.size(), first + 1);  // the step that ran ahead is dropped
  EXPECT_EQ(common(cut, all), first + 1);
}

TEST(GpuGeneration, ACancelledRequestGivesItsMemoryBack) {
  const auto engine = open(gpu());
  RequestId id = 0;
  int seen = 0;
  bool done = false;
  Request request = story(prompt_number(1, 50), 500);
  request.on_token = [&](const TokenEvent&) {
    if (++seen == 5) engine->cancel(id);
  };
  request.on_done = [&](const RequestResult& r) {
    done = true;
    EXPECT_EQ(r.completions.front().finish_reason, FinishReason::kCancelled);
  };
  id = engine->submit(std::move(request)).value();
  engine->run_until_idle();

  EXPECT_TRUE(done);
  EXPECT_LT(seen, 10);
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
  EXPECT_EQ(complete(*engine, story(prompt_number(2, 9), 7)).size(), 7U);
}

TEST(GpuGeneration, SamplesTheSameTokensAloneAndInACrowd) {
  const auto engine = open(gpu({.dtype = "f32", .kv_memory = std::int64_t{1} << 30}));
  const auto sampled = [](std::uint32_t i) {
    Request request = story(prompt_number(i, 30 + i % 7), 40);
    request.sampling.temperature = 0.8F;
    request.sampling.top_p = 0.9F;
    request.sampling.top_k = i % 3 == 0 ? 50 : 0;
    request.sampling.repetition_penalty = i % 4 == 0 ? 1.1F : 1.0F;
    request.sampling.typical_p = i % 5 == 0 ? 0.9F : 1.0F;  // on the host
    request.sampling.seed = i;
    return request;
  };
  std::vector<Request> requests;
  std::vector<Tokens> alone;
  for (std::uint32_t i = 0; i < 24; ++i) {
    requests.push_back(sampled(i));
    alone.push_back(complete(*engine, sampled(i)));
  }
  const std::vector<Tokens> crowd = together(*engine, std::move(requests));
  std::size_t same = 0;
  for (std::size_t i = 0; i < crowd.size(); ++i) same += crowd[i] == alone[i] ? 1 : 0;
  EXPECT_GE(same + 2, crowd.size());
}

TEST(GpuGeneration, SeveralCompletionsShareTheirPrompt) {
  const auto engine = open(gpu());
  Request request = story(prompt_number(3, 300), 20);
  request.sampling.n = 5;
  request.sampling.temperature = 1.0F;
  request.sampling.seed = 4;
  const auto result = engine->complete(std::move(request));

  ASSERT_TRUE(result);
  ASSERT_EQ(result->completions.size(), 5U);
  for (const Completion& c : result->completions) EXPECT_EQ(c.token_ids.size(), 20U);
  EXPECT_NE(result->completions[0].token_ids, result->completions[1].token_ids);
}

TEST(GpuGeneration, ScoresAPromptLikeTheCpu) {
  const auto cpu = open({.model = stories_folder(), .dtype = "f32"});
  const auto engine = open(gpu({.dtype = "f32"}));
  const auto score = [](Engine& e) {
    Request request{.prompt = prompt_number(8, 700)};
    request.sampling = {.max_tokens = 0, .prompt_logprobs = 0};
    return e.complete(std::move(request)).value().prompt_logprobs;
  };
  const auto expected = score(*cpu);
  const auto found = score(*engine);

  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 1; i < found.size(); ++i) {
    EXPECT_NEAR(found[i]->chosen, expected[i]->chosen, 2e-3) << i;
  }
}

// Both round a key to 1/254 of its largest value; the CPU's scales and arithmetic are its own.
TEST(GpuGeneration, AnInt8CacheScoresLikeTheCpus) {
  const auto score = [](const EngineOptions& options) {
    const auto engine = open(options);
    Request request{.prompt = prompt_number(8, 500)};
    request.sampling = {.max_tokens = 0, .prompt_logprobs = 0};
    return engine->complete(std::move(request)).value().prompt_logprobs;
  };
  const auto exact = score({.model = stories_folder()});
  const auto expected = score({.model = stories_folder(), .kv_dtype = "int8"});
  const auto found = score(gpu({.kv_dtype = "int8"}));

  ASSERT_EQ(found.size(), expected.size());
  double apart = 0.0;
  double rounded = 0.0;
  for (std::size_t i = 1; i < found.size(); ++i) {
    apart += std::abs(found[i]->chosen - expected[i]->chosen);
    rounded += std::abs(expected[i]->chosen - exact[i]->chosen);
  }
  const auto n = static_cast<double>(found.size() - 1);
  EXPECT_LT(apart / n, 0.03) << "the CPU's int8 cache changes " << rounded / n;
}

TEST(GpuGeneration, QuantizedWeightsAndCachesTellAStory) {
  const auto cpu = open({.model = stories_folder()});
  const Tokens prompt = cpu->tokenize("Once upon a time, there was a little").value();
  const Tokens expected = complete(*cpu, story(prompt, 12));
  for (const char* weights : {"auto", "q8", "q4", "fp8"}) {
    for (const char* cache : {"bf16", "fp8", "int8"}) {
      const auto engine = open(gpu({.weights = weights, .kv_dtype = cache}));
      ASSERT_NE(engine, nullptr);

      EXPECT_GE(common(complete(*engine, story(prompt, 12)), expected), 8U)
          << weights << " weights, " << cache << " cache";
    }
  }
}

TEST(GpuEngine, ComputesAnF16CheckpointInF16UnlessTheCacheIsOfAnotherType) {
  const std::string model = golden_folder("llama2-mha");
  EXPECT_EQ(open({.model = model, .device = "cuda"})->info().kv_dtype, "f16");
  EXPECT_EQ(open({.model = model, .device = "cuda", .kv_dtype = "f16"})->info().dtype, "f16");
  EXPECT_EQ(open({.model = model, .device = "cuda", .kv_dtype = "bf16"})->info().dtype, "bf16");
  EXPECT_EQ(open({.model = model, .device = "cuda", .weights = "q8"})->info().dtype, "bf16");
  EXPECT_EQ(open({.model = model, .device = "cuda", .dtype = "bf16"})->info().kv_dtype, "bf16");
}

TEST(GpuEngine, IsDeterministicUnlessThatCostsOrItIsToldOtherwise) {
  const bool free = open(gpu())->info().deterministic;  // on Hopper
  EXPECT_EQ(open(gpu({.dtype = "f16"}))->info().deterministic, free);
  EXPECT_FALSE(open(gpu({.dtype = "f32"}))->info().deterministic);
  for (const char* weights : {"q8", "q4", "fp8"}) {
    EXPECT_FALSE(open(gpu({.weights = weights}))->info().deterministic) << weights;
  }
  for (const bool asked : {false, true}) {
    EXPECT_EQ(open(gpu({.deterministic = asked}))->info().deterministic, asked);
    EXPECT_EQ(open(gpu({.weights = "q8", .deterministic = asked}))->info().deterministic, asked);
  }
}

TEST(GpuEngine, RefusesWhatItCannotDoWithTheWordsToUse) {
  const auto refused = Engine::create(gpu({.kv_dtype = "f16"}));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("--dtype f16"), std::string::npos);

  const auto absent = Engine::create({.model = stories_folder(), .device = "cuda:99"});
  ASSERT_FALSE(absent);
  EXPECT_NE(absent.error().message.find("cuda:99"), std::string::npos);
}

}  // namespace
}  // namespace spate::test
