// --deterministic: a request gets the same bits alone, in any batch, with any chunk size, either
// allocator, beside completions of the same prompt, and after preemption. Log-probabilities are
// compared exactly.
#include <algorithm>

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

/// Answers of all requests, run together, in the order given.
std::vector<Answer> answers(Engine& engine, std::vector<Request> requests) {
  std::vector<Answer> out(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].sampling.logprobs = 0;
    requests[i].on_done = [&out, i](const RequestResult& r) {
      out[i] = answer_of(r.completions.front());
    };
    EXPECT_TRUE(engine.submit(std::move(requests[i])));
  }
  engine.run_until_idle();
  return out;
}

class GpuSameBits : public testing::TestWithParam<Variant> {
 protected:
  static EngineOptions options() {
    const Variant& v = GetParam();
    return {.model = v.model == "stories" ? stories_folder() : golden_folder(v.model),
            .device = "cuda",
            .dtype = v.dtype,
            .weights = v.weights,
            .kv_dtype = v.kv_dtype,
            .kv_memory = std::int64_t{256} << 20,
            .deterministic = true};
  }

  static Prompts prompts(const Engine& engine) {
    const std::int64_t vocab = engine.info().vocab_size;
    const std::int64_t longest = std::min<std::int64_t>(engine.info().context_length - 8, 300);
    return {some_tokens(longest, vocab, 1), some_tokens(5, vocab, 2), some_tokens(31, vocab, 3)};
  }
  static Rows alone() {
    const auto engine = open(options());
    return rows_alone(*engine, prompts(*engine));
  }
  static Rows together(Engine& engine) { return rows_together(engine, prompts(engine)); }

  /// Greedy and sampled answers of all lengths.
  static std::vector<Request> crowd(const Engine& engine, std::uint32_t n) {
    std::vector<Request> requests;
    const std::int64_t room = engine.info().context_length;
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::int64_t length = std::min<std::int64_t>(1 + i * 37 % 200, room / 2);
      Request request{.prompt = some_tokens(length, engine.info().vocab_size, i + 50)};
      request.sampling.max_tokens = std::min<std::int64_t>(10 + i * 7 % 30, room / 2 - 1);
      request.sampling.temperature = i % 2 == 0 ? 0.0F : 0.9F;
      request.sampling.seed = i;
      request.sampling.ignore_eos = true;
      requests.push_back(std::move(request));
    }
    return requests;
  }
};

TEST_P(GpuSameBits, OfAPromptAloneAndInABatch) {
  const auto engine = open(options());

  EXPECT_EQ(together(*engine), alone());
}

TEST_P(GpuSameBits, WhetherOtherRowsAreWantedOrNot) {
  const auto engine = open(options());
  const Rows expected = last_rows_alone(*engine, prompts(*engine));

  EXPECT_EQ(last_rows_together(*engine, prompts(*engine)), expected);
}

TEST_P(GpuSameBits, OfAPromptInAnyChunks) {
  const Rows expected = alone();
  for (const std::int64_t chunk : {1, 3, 16, 50}) {
    EngineOptions o = options();
    o.max_batch_tokens = chunk;
    const auto engine = open(o);

    EXPECT_EQ(together(*engine), expected) << "chunks of " << chunk;
  }
}

TEST_P(GpuSameBits, OfAnswersAloneAndInACrowd) {
  constexpr std::uint32_t kRequests = 40;
  const auto engine = open(options());
  std::vector<Answer> alone;
  for (std::uint32_t i = 0; i < kRequests; ++i) {
    std::vector<Request> all = crowd(*engine, kRequests);
    std::vector<Request> one;
    one.push_back(std::move(all[i]));
    alone.push_back(answers(*engine, std::move(one)).front());
  }

  EXPECT_EQ(answers(*engine, crowd(*engine, kRequests)), alone);
  EXPECT_EQ(answers(*engine, crowd(*engine, kRequests)), alone) << "from recorded steps";
}

TEST_P(GpuSameBits, WithPagesAndSegments) {
  EngineOptions paged = options();
  paged.kv_cache = "paged";
  const auto engine = open(paged);
  const auto other = open(options());

  EXPECT_EQ(answers(*engine, crowd(*engine, 40)), answers(*other, crowd(*other, 40)));
}

TEST_P(GpuSameBits, InEveryCompletionOfARequest) {
  for (const char* cache : {"segment", "paged"}) {
    EngineOptions o = options();
    o.kv_cache = cache;
    const auto engine = open(o);

    SCOPED_TRACE(cache);
    expect_independent_completions(*engine);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, GpuSameBits,
    testing::Values(Variant{"stories"}, Variant{"stories", "auto", "auto", "f32"},
                    Variant{"stories", "auto", "auto", "f16"}, Variant{"stories", "q8", "int8"},
                    Variant{"stories", "q4"}, Variant{"stories", "fp8", "fp8"}, Variant{"qwen3"},
                    Variant{"mistral-window"}, Variant{"llama-biases"},
                    Variant{"llama-gqa4-dim128"}, Variant{"mistral-window-dim256"}),
    [](const auto& test) {
      std::string name = test.param.model + "_" + test.param.weights + "_" + test.param.kv_dtype +
                         "_" + test.param.dtype;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

/// Answers of many requests through a cache of so many blocks; half of the answers turn out long.
std::vector<Answer> generate(std::int64_t kv_blocks, EngineStats& stats) {
  EngineOptions o{
      .model = stories_folder(), .device = "cuda", .kv_cache = "paged", .deterministic = true};
  const auto wide = open(o);
  const auto per_block = wide->info().memory.at(1).n_bytes / (wide->info().kv_tokens / 128);
  o.kv_memory = per_block * kv_blocks;
  const auto engine = open(o);
  std::vector<Request> requests;
  constexpr std::uint32_t kShort = 40;  // they teach admission to expect short answers
  for (std::uint32_t i = 0; i < kShort + 10; ++i) {
    Request request{.prompt = some_tokens(20 + 7 * (i % 12), 4096, i + 10)};
    request.sampling = {.max_tokens = i < kShort ? 2 : 300, .temperature = 0.9F, .seed = i};
    request.sampling.ignore_eos = true;
    request.sampling.stop = {"no such text"};  // or the length would be certain, and kept free
    requests.push_back(std::move(request));
  }
  const std::vector<Answer> texts = answers(*engine, std::move(requests));
  stats = engine->stats();
  return texts;
}

TEST(GpuSameBitsAgain, AfterPreemption) {
  EngineStats roomy;
  EngineStats tight;
  const std::vector<Answer> expected = generate(200, roomy);

  const std::vector<Answer> found = generate(12, tight);

  EXPECT_EQ(roomy.preemptions, 0);
  EXPECT_GT(tight.preemptions, 0);
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace spate::test
