// The promise that a request gets the same bits alone, in any batch, with any chunk size, either
// allocator, after preemption and with any number of threads: log-probabilities of the whole
// vocabulary are compared exactly.
#include <map>

#include <gtest/gtest.h>

#include "tests/engine/same_bits.h"

namespace spate::test {
namespace {

struct Variant {
  std::string model;
  std::string weights = "auto";
  std::string kv_dtype = "auto";
  std::string dtype = "auto";
};

class SameBits : public testing::TestWithParam<Variant> {
 protected:
  EngineOptions options() const {
    const Variant& v = GetParam();
    return {.model = v.model == "stories" ? stories_folder() : golden_folder(v.model),
            .dtype = v.dtype,
            .weights = v.weights,
            .kv_dtype = v.kv_dtype,
            .threads = 1};
  }

  static Prompts prompts(const Engine& engine) {
    const std::int64_t vocab = engine.info().vocab_size;
    return {some_tokens(67, vocab, 1), some_tokens(5, vocab, 2), some_tokens(31, vocab, 3)};
  }

  /// The distributions of three prompts of odd lengths, each alone.
  Rows alone() const {
    const auto engine = open(options());
    return rows_alone(*engine, prompts(*engine));
  }
  static Rows together(Engine& engine) { return rows_together(engine, prompts(engine)); }
};

TEST_P(SameBits, AloneAndInABatch) {
  const auto engine = open(options());

  EXPECT_EQ(together(*engine), alone());
}

TEST_P(SameBits, WithAnyChunkSize) {
  const Rows expected = alone();
  for (const std::int64_t chunk : {1, 3, 16, 50}) {
    EngineOptions o = options();
    o.max_batch_tokens = chunk;
    const auto engine = open(o);

    EXPECT_EQ(together(*engine), expected) << "chunks of " << chunk;
  }
}

TEST_P(SameBits, WhetherOtherRowsAreWantedOrNot) {
  const auto scoring = open(options());
  const Rows expected = last_rows_alone(*scoring, prompts(*scoring));
  for (const std::int64_t chunk : {1, 7, 1000}) {
    EngineOptions o = options();
    o.max_batch_tokens = chunk;
    const auto engine = open(o);

    EXPECT_EQ(last_rows_together(*engine, prompts(*engine)), expected) << "chunks of " << chunk;
  }
}

TEST_P(SameBits, WithPagesAndSegments) {
  EngineOptions o = options();
  o.kv_cache = "paged";
  const auto engine = open(o);

  EXPECT_EQ(together(*engine), alone());
}

TEST_P(SameBits, WithMoreThreads) {
  const Rows expected = alone();
  for (const int threads : {2, 3}) {
    EngineOptions o = options();
    o.threads = threads;
    const auto engine = open(o);

    EXPECT_EQ(together(*engine), expected) << threads << " threads";
  }
}

TEST_P(SameBits, BeforeAndAfterTheWeightsArePacked) {
  // The first steps run on the mapped file; by the third pass everything has been packed behind.
  const Rows expected = alone();
  const auto engine = open(options());
  for (int pass = 0; pass < 3; ++pass) {
    EXPECT_EQ(together(*engine), expected) << "pass " << pass;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SameBits,
                         testing::Values(Variant{"stories"}, Variant{"stories", "q8"},
                                         Variant{"stories", "q4", "int8"}, Variant{"qwen3"},
                                         Variant{"mistral-window"}, Variant{"llama-biases"},
                                         Variant{"qwen3", "auto", "auto", "f16"},
                                         Variant{"mistral-window", "auto", "auto", "bf16"}),
                         [](const auto& test) {
                           std::string name = test.param.model + "_" + test.param.weights + "_" +
                                              test.param.kv_dtype + "_" + test.param.dtype;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// Generated texts of many requests through a cache that holds only a few of them.
std::map<RequestId, std::vector<TokenId>> generate(std::int64_t kv_blocks, EngineStats& stats) {
  auto engine = open({.model = stories_folder(), .kv_cache = "paged"});
  const auto per_block = engine->info().memory.at(1).n_bytes / (engine->info().kv_tokens / 64);
  engine =
      open({.model = stories_folder(), .kv_cache = "paged", .kv_memory = per_block * kv_blocks});
  std::map<RequestId, std::vector<TokenId>> texts;
  constexpr std::uint32_t kShort = 80;  // they teach admission to expect short answers
  for (std::uint32_t i = 0; i < kShort + 12; ++i) {
    Request request{.prompt = some_tokens(20 + 7 * (i % 12), 4096, i + 10)};
    request.sampling = {.max_tokens = i < kShort ? 2 : 150, .temperature = 0.9F, .seed = i};
    request.sampling.ignore_eos = true;
    request.sampling.stop = {"no such text"};  // or the length would be certain, and kept free
    request.on_done = [&](const RequestResult& r) {
      texts[r.id] = r.completions.front().token_ids;
    };
    EXPECT_TRUE(engine->submit(std::move(request)));
  }
  engine->run_until_idle();
  stats = engine->stats();
  return texts;
}

TEST(SameTokens, AfterPreemption) {
  EngineStats roomy;
  EngineStats tight;
  const auto expected = generate(200, roomy);

  const auto texts = generate(9, tight);

  EXPECT_EQ(roomy.preemptions, 0);
  EXPECT_GT(tight.preemptions, 0);
  EXPECT_EQ(texts, expected);
  EXPECT_EQ(tight.kv_blocks_used, 0);
}

TEST(SameTokens, InEveryCompletionOfARequest) {
  for (const char* cache : {"segment", "paged"}) {
    const auto engine = open({.model = stories_folder(), .kv_cache = cache});

    SCOPED_TRACE(cache);
    expect_independent_completions(*engine);
  }
}

}  // namespace
}  // namespace spate::test
