// Options that are words and numbers: each wrong one is named as it is spelled, with the remedy.
#include "engine/options.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spate {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Options, TheDefaultsAreWhatThePagesSay) {
  const Result<EngineChoices> choices = parse_options({});

  ASSERT_TRUE(choices) << choices.error().message;
  EXPECT_EQ(choices->isa, best_cpu_isa());
  EXPECT_EQ(choices->kv_cache, KvCacheKind::kSegment);
  EXPECT_EQ(choices->kv_dtype, std::nullopt);
  EXPECT_EQ(choices->admission, AdmissionKind::kLookahead);
  EXPECT_EQ(choices->policy.name, "fifo");
  EXPECT_EQ(choices->load.params.quantize, std::nullopt);
  EXPECT_FALSE(choices->load.dummy);
}

TEST(Options, WordsAreTakenToTheirPlace) {
  const Result<EngineChoices> choices = parse_options({.dtype = "f32",
                                                       .weights = "q4",
                                                       .kv_dtype = "int8",
                                                       .kv_cache = "paged",
                                                       .isa = "generic",
                                                       .admission = "exact",
                                                       .policy = "shortest-first",
                                                       .load_format = "dummy"});

  ASSERT_TRUE(choices) << choices.error().message;
  EXPECT_EQ(choices->load.params.compute, ComputeDType::kF32);
  EXPECT_EQ(choices->load.params.quantize, WeightFormat::kQ4);
  EXPECT_EQ(choices->kv_dtype, DType::kI8);
  EXPECT_EQ(choices->kv_cache, KvCacheKind::kPaged);
  EXPECT_EQ(choices->isa, CpuIsa::kGeneric);
  EXPECT_EQ(choices->admission, AdmissionKind::kExact);
  EXPECT_EQ(choices->policy.name, "shortest-first");
  EXPECT_TRUE(choices->load.dummy);
}

struct Wrong {
  EngineOptions options;
  const char* option;
  const char* known;
};

TEST(Options, AnUnknownWordIsNamedWithTheKnownOnes) {
  for (const Wrong& wrong : {Wrong{{.device = "odd"}, "--device odd", "cpu"},
                             Wrong{{.dtype = "odd"}, "--dtype odd", "auto, f32, bf16, f16"},
                             Wrong{{.weights = "odd"}, "--weights odd", "auto, q8, q4"},
                             Wrong{{.kv_dtype = "odd"}, "--kv-dtype odd", "f16, bf16, int8"},
                             Wrong{{.kv_cache = "odd"}, "--kv-cache odd", "segment, paged"},
                             Wrong{{.isa = "odd"}, "--isa odd", "generic, avx2, avx512, amx"},
                             Wrong{{.admission = "odd"}, "--admission odd", "lookahead, exact"},
                             Wrong{{.policy = "odd"}, "--policy odd", "shortest-first, priority"},
                             Wrong{{.load_format = "odd"}, "--load-format odd", "auto, dummy"}}) {
    const Result<EngineChoices> choices = parse_options(wrong.options);

    ASSERT_FALSE(choices) << wrong.option;
    EXPECT_EQ(choices.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(choices.error().message, AllOf(HasSubstr(wrong.option), HasSubstr(wrong.known)));
  }
}

TEST(Options, ANumberOutOfRangeIsNamedWithTheRange) {
  for (const Wrong& wrong :
       {Wrong{{.kv_memory = -1}, "--kv-memory -1", "at least 0"},
        Wrong{{.context_length = -5}, "--context-length -5", "at least 0"},
        Wrong{{.threads = -2}, "--threads -2", "at least 0"},
        Wrong{{.max_batch_tokens = -1}, "--max-batch-tokens -1", "at least 0"},
        Wrong{{.max_requests = -7}, "--max-requests -7", "at least 0"},
        Wrong{{.threads = 100'000}, "--threads 100000", "at most 1024"},
        Wrong{{.max_batch_tokens = INT64_MAX}, "--max-batch-tokens 9223372036854775807", "at most"},
        Wrong{{.max_requests = INT64_MAX}, "--max-requests 9223372036854775807", "at most"},
        Wrong{{.kv_memory = INT64_MAX}, "--kv-memory 9223372036854775807", "at most"}}) {
    const Result<EngineChoices> choices = parse_options(wrong.options);

    ASSERT_FALSE(choices) << wrong.option;
    EXPECT_THAT(choices.error().message, AllOf(HasSubstr(wrong.option), HasSubstr(wrong.known)));
  }
}

TEST(Options, ACacheOnAGpuFitsTheArithmetic) {
  const std::map<std::string, std::vector<std::string>> fitting{
      {"auto", {"auto", "bf16", "f16", "fp8", "int8"}},
      {"bf16", {"auto", "bf16", "fp8", "int8"}},
      {"f16", {"auto", "f16"}},
      {"f32", {"auto", "f32"}}};
  for (const auto& [arithmetic, caches] : fitting) {
    for (const char* cache : {"auto", "f32", "bf16", "f16", "fp8", "int8"}) {
      const bool fits = std::find(caches.begin(), caches.end(), cache) != caches.end();
      const auto choices =
          parse_options({.device = "cuda", .dtype = arithmetic, .kv_dtype = cache});

      EXPECT_EQ(choices.has_value(), fits) << arithmetic << ", a cache of " << cache;
      if (!choices) {
        EXPECT_THAT(choices.error().message, HasSubstr("f16 with --dtype f16"));
      }
    }
  }
}

TEST(Options, AGpuMultipliesQuantizedWeightsInBf16) {
  for (const char* weights : {"q8", "q4", "fp8"}) {
    const auto choices = parse_options({.device = "cuda", .weights = weights});
    ASSERT_TRUE(choices);
    EXPECT_EQ(choices->load.params.compute, ComputeDType::kBF16);
    for (const char* arithmetic : {"f16", "f32"}) {
      const auto refused =
          parse_options({.device = "cuda", .dtype = arithmetic, .weights = weights});
      ASSERT_FALSE(refused) << weights;
      EXPECT_THAT(refused.error().message, HasSubstr("bf16"));
    }
  }
  // As do byte caches, whatever the checkpoint; else it decides.
  EXPECT_EQ(parse_options({.device = "cuda", .kv_dtype = "fp8"})->load.params.compute,
            ComputeDType::kBF16);
  EXPECT_EQ(parse_options({.device = "cuda"})->load.params.compute, std::nullopt);
}

TEST(Options, AGpuIsDeterministicWhereItCostsNextToNothing) {
  constexpr int kAmpere = 80, kHopper = 90;
  const auto on = [](int architecture, const EngineOptions& options) {
    const EngineChoices choices = parse_options(options).value();
    return deterministic_on(architecture, choices,
                            choices.load.params.compute.value_or(ComputeDType::kBF16));
  };
  EXPECT_TRUE(on(kHopper, {.device = "cuda"}));
  EXPECT_TRUE(on(kHopper, {.device = "cuda", .dtype = "f16"}));
  EXPECT_FALSE(on(kHopper, {.device = "cuda", .dtype = "f32"}));
  EXPECT_FALSE(on(kHopper, {.device = "cuda", .weights = "q4"}));
  EXPECT_FALSE(on(kAmpere, {.device = "cuda"}));
  for (const bool asked : {false, true}) {
    EXPECT_EQ(on(kHopper, {.device = "cuda", .deterministic = asked}), asked);
    EXPECT_EQ(on(kAmpere, {.device = "cuda", .weights = "q8", .deterministic = asked}), asked);
  }
}

TEST(Options, ACpuHasEveryArithmeticWithEveryCache) {
  for (const char* arithmetic : {"auto", "f32", "bf16", "f16"}) {
    for (const char* cache : {"auto", "f32", "bf16", "f16", "int8"}) {
      for (const char* weights : {"auto", "q8", "q4"}) {
        EXPECT_TRUE(parse_options({.dtype = arithmetic, .weights = weights, .kv_dtype = cache}));
      }
    }
  }
}

TEST(Options, EveryPolicyThatTheErrorNamesIsThere) {
  for (const char* name : {"fifo", "prefill-first", "shortest-first", "priority"}) {
    EXPECT_TRUE(parse_options({.policy = name})) << name;
  }
}

}  // namespace
}  // namespace spate
