#include "weights/hf_config.h"

#include <string>

#include <gmock/gmock.h>

#include "core/load_error.h"

namespace spate {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

HfConfig parse(std::string_view json) { return value_or_throw(HfConfig::parse(json, "c.json")); }

template <class F>
std::string thrown_by(F&& f) {
  try {
    f();
  } catch (const LoadError& e) {
    return e.error().message;
  }
  return "nothing";
}

TEST(HfConfig, GettersReadWhatIsThere) {
  const HfConfig hf = parse(R"({"i": 3, "whole": 8192.0, "r": 0.5, "f": true, "t": "x", "n": null,
                                "o": {"i": 4}, "a": [1]})");

  EXPECT_EQ(hf.integer("i"), 3);
  EXPECT_EQ(hf.integer("whole"), 8192);
  EXPECT_EQ(hf.number("r"), 0.5F);
  EXPECT_EQ(hf.real("i"), 3.0);
  EXPECT_TRUE(hf.flag("f", false));
  EXPECT_EQ(hf.text("t"), "x");
  EXPECT_EQ(hf.object("o").integer("i"), 4);
  EXPECT_EQ(hf.array("a").size(), 1U);
}

TEST(HfConfig, NullIsAbsent) {
  const HfConfig hf = parse(R"({"n": null})");

  EXPECT_FALSE(hf.has("n"));
  EXPECT_EQ(hf.integer("n", 7), 7);
  EXPECT_EQ(hf.text("n", "y"), "y");
  EXPECT_THAT(thrown_by([&] { hf.integer("n"); }), HasSubstr("c.json: n is missing"));
}

TEST(HfConfig, ErrorsNameTheKeyTheValueAndWhatWasWanted) {
  const HfConfig hf = parse(R"({"o": {"k": "three"}})");

  EXPECT_EQ(thrown_by([&] { hf.object("o").integer("k"); }),
            "c.json: o.k is \"three\", not an integer");
  EXPECT_EQ(thrown_by([&] { hf.object("o").flag("k", true); }),
            "c.json: o.k is \"three\", not true or false");
  EXPECT_EQ(thrown_by([&] { hf.object("o").object("k"); }),
            "c.json: o.k is \"three\", not an object");
  EXPECT_EQ(thrown_by([&] { hf.text("o"); }), "c.json: o is {\"k\":\"three\"}, not a string");
}

TEST(HfConfig, NumbersThatDoNotFitAreRefused) {
  const HfConfig hf = parse(R"({"big": 18446744073709551615, "half": 2.5, "huge": 1e300,
                                "zero": 0, "many": 2147483648})");

  EXPECT_THROW(hf.integer("big"), LoadError);
  EXPECT_THROW(hf.integer("half"), LoadError);
  EXPECT_THROW(hf.integer("huge"), LoadError);
  EXPECT_THROW(hf.number("huge"), LoadError);
  EXPECT_THROW(hf.extent("zero"), LoadError);
  EXPECT_THROW(hf.extent("many"), LoadError);
  EXPECT_EQ(hf.extent("absent", 0), 0);
}

TEST(HfConfig, FilesThatAreNoConfigAreRefused) {
  EXPECT_FALSE(HfConfig::parse("", "c.json"));
  EXPECT_FALSE(HfConfig::parse("[]", "c.json"));
  EXPECT_FALSE(HfConfig::parse("{\"a\": 1e999}", "c.json"));
  EXPECT_FALSE(HfConfig::parse(std::string(100, '{'), "c.json"));
  const auto deep = HfConfig::parse("{\"a\": " + std::string(100'000, '[') + "}", "c.json");
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().message, AllOf(HasSubstr("c.json"), HasSubstr("levels deep")));
  EXPECT_TRUE(HfConfig::parse("{\"a\": \"[[[[\\\"[[\"}", "c.json"));
}

TEST(HfConfig, ReadsTheElementTypeInBothDialects) {
  EXPECT_EQ(parse(R"({"torch_dtype": "bfloat16"})").dtype(), DType::kBF16);
  EXPECT_EQ(parse(R"({"dtype": "float16"})").dtype(), DType::kF16);
  EXPECT_FALSE(parse("{}").dtype().has_value());
  EXPECT_THAT(thrown_by([] { parse(R"({"dtype": "int3"})").dtype(); }), HasSubstr("\"int3\""));
}

TEST(HfConfig, LiftsTheLanguageHalfOfAVisionModel) {
  const HfConfig hf = parse(R"({"model_type": "v", "tie_word_embeddings": true, "vocab_size": null,
      "vision_config": {"depth": 2},
      "text_config": {"model_type": "t", "vocab_size": 9, "tie_word_embeddings": false}})");

  EXPECT_EQ(hf.text("model_type"), "v");
  EXPECT_EQ(hf.integer("vocab_size"), 9);
  EXPECT_TRUE(hf.flag("tie_word_embeddings", false));
  EXPECT_EQ(hf.object("vision_config").integer("depth"), 2);
}

TEST(HfConfig, ReadsOneOrManyEndTokens) {
  EXPECT_THAT(parse(R"({"eos_token_id": 2})").eos_token_ids(), ElementsAre(2));
  EXPECT_THAT(parse(R"({"eos_token_id": [2, 5]})").eos_token_ids(), ElementsAre(2, 5));
  EXPECT_THAT(parse(R"({"eos_token_id": null})").eos_token_ids(), IsEmpty());
  for (const char* bad : {"-1", "\"2\"", "[2, [3]]", "4294967296", "1.5"}) {
    const std::string json = std::string(R"({"eos_token_id": )") + bad + "}";
    EXPECT_THAT(thrown_by([&] { parse(json).eos_token_ids(); }), HasSubstr("eos_token_id")) << bad;
  }
}

// The decoder's shape -----------------------------------------------------------------------------

constexpr std::string_view kShape =
    R"({"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "vocab_size": 128,
        "num_attention_heads": 4, "max_position_embeddings": 256)";

DecoderShape shape(const std::string& more) {
  return parse(std::string(kShape) + more + "}").decoder_shape();
}

TEST(DecoderShape, DefaultsToOneKvHeadForEachQueryHeadAndADividedHiddenSize) {
  EXPECT_EQ(shape("").kv_heads, 4);
  EXPECT_EQ(shape("").head_dim, 16);
  EXPECT_EQ(shape(R"(, "num_key_value_heads": 2, "head_dim": 80)").kv_heads, 2);
  EXPECT_EQ(shape(R"(, "num_key_value_heads": 2, "head_dim": 80)").head_dim, 80);
}

TEST(DecoderShape, RefusesWhatDoesNotDivideOrIsAbsurd) {
  EXPECT_THAT(thrown_by([] { shape(R"(, "num_key_value_heads": 3)"); }),
              HasSubstr("num_attention_heads is 4, which 3 num_key_value_heads do not divide"));
  EXPECT_THAT(thrown_by([] { shape(R"(, "num_attention_heads": 5)"); }),
              HasSubstr("hidden_size is 64"));
  EXPECT_THAT(thrown_by([] { shape(R"(, "num_attention_heads": 0)"); }),
              HasSubstr("num_attention_heads is 0"));
  EXPECT_THAT(thrown_by([] { shape(R"(, "hidden_size": 2147483647)"); }),
              HasSubstr("hidden_size is 2147483647, more than"));
  EXPECT_THAT(thrown_by([] { shape(R"(, "num_attention_heads": 65536, "head_dim": 16384)"); }),
              HasSubstr("head_dim * num_attention_heads"));
  EXPECT_THAT(thrown_by([] { parse("{}").decoder_shape(); }),
              HasSubstr("num_hidden_layers is missing"));
}

// Rotary positions --------------------------------------------------------------------------------

RopeConfig rope(const std::string& json) { return parse(json).rope(); }

TEST(RopeConfig, IsTheSameInBothDialects) {
  const RopeConfig before = rope(R"({"max_position_embeddings": 131072, "rope_theta": 500000.0,
      "rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                       "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})");
  const RopeConfig after = rope(R"({"max_position_embeddings": 131072,
      "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                          "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 8192}})");

  for (const RopeConfig& r : {before, after}) {
    EXPECT_EQ(r.type, RopeConfig::Type::kLlama3);
    EXPECT_EQ(r.theta, 500000.0);
    EXPECT_EQ(r.factor, 8.0);
    EXPECT_EQ(r.high_freq_factor, 4.0);
    EXPECT_EQ(r.original_max_position_embeddings, 8192);
    EXPECT_EQ(r.max_position_embeddings, 131072);
  }
}

TEST(RopeConfig, IsPlainWhenNothingIsSaid) {
  EXPECT_EQ(rope("{}").type, RopeConfig::Type::kDefault);
  EXPECT_EQ(rope("{}").theta, 10000.0);
  EXPECT_EQ(rope(R"({"rope_theta": 5e5, "rope_scaling": null})").theta, 5e5);
  EXPECT_EQ(rope(R"({"rope_theta": 5e5, "rope_scaling": {}})").type, RopeConfig::Type::kDefault);
}

TEST(RopeConfig, MayDifferByLayerType) {
  const HfConfig hf = parse(R"({"rope_parameters": {
      "full_attention": {"rope_type": "default", "rope_theta": 1e6},
      "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}})");

  EXPECT_EQ(hf.rope().theta, 1e6);
  EXPECT_EQ(hf.rope("sliding_attention").theta, 1e4);
  EXPECT_THAT(thrown_by([&] { hf.rope("other"); }), HasSubstr("rope_parameters.other is missing"));
}

TEST(RopeConfig, DerivesTheFactorOfYarnFromTheLengths) {
  const RopeConfig r = rope(R"({"max_position_embeddings": 128, "rope_scaling":
      {"type": "yarn", "original_max_position_embeddings": 32, "beta_fast": 0}})");

  EXPECT_EQ(r.factor, 4.0);
  EXPECT_EQ(r.beta_fast, 32.0);
  EXPECT_FALSE(r.attention_factor.has_value());
  EXPECT_TRUE(r.truncate);
}

TEST(RopeConfig, RefusesValuesThatMakeNoSense) {
  const auto refusal = [](const std::string& scaling) {
    return thrown_by(
        [&] { rope(R"({"max_position_embeddings": 64, "rope_scaling": )" + scaling + "}"); });
  };
  EXPECT_THAT(refusal(R"({"type": "linear"})"), HasSubstr("rope_scaling.factor is missing"));
  EXPECT_THAT(refusal(R"({"type": "linear", "factor": 0})"), HasSubstr("rope_scaling.factor is 0"));
  EXPECT_THAT(refusal(R"({"type": "spiral", "factor": 2})"), HasSubstr("\"spiral\""));
  EXPECT_THAT(refusal(R"("linear")"), HasSubstr("not an object"));
  EXPECT_THAT(refusal(R"({"type": "llama3", "factor": 8, "low_freq_factor": 4,
                          "high_freq_factor": 4})"),
              HasSubstr("high_freq_factor is 4, not more than low_freq_factor 4"));
  EXPECT_THAT(thrown_by([] { rope(R"({"rope_theta": 1})"); }), HasSubstr("rope_theta is 1"));
  EXPECT_THAT(thrown_by([] { rope(R"({"partial_rotary_factor": 1.5})"); }),
              HasSubstr("partial_rotary_factor is 1.5"));
  EXPECT_THAT(thrown_by([] { rope(R"({"rope_scaling": {"type": "dynamic", "factor": 2}})"); }),
              HasSubstr("max_position_embeddings is missing"));
}

// Sliding windows ---------------------------------------------------------------------------------

TEST(SlidingWindow, OfMistralIsOnEveryLayerUnlessItIsNull) {
  EXPECT_EQ(parse(R"({"model_type": "mistral", "sliding_window": 8})").sliding_window(5), 8);
  EXPECT_EQ(parse(R"({"model_type": "mistral"})").sliding_window(0), 4096);
  EXPECT_FALSE(parse(R"({"model_type": "mistral", "sliding_window": null})").sliding_window(0));
}

TEST(SlidingWindow, OfQwenNeedsItsSwitchAndBeginsAtMaxWindowLayers) {
  const std::string window = R"({"model_type": "qwen2", "sliding_window": 8)";
  const HfConfig on = parse(window + R"(, "use_sliding_window": true, "max_window_layers": 2})");

  EXPECT_FALSE(parse(window + "}").sliding_window(30));
  EXPECT_FALSE(parse(window + R"(, "use_sliding_window": false})").sliding_window(30));
  EXPECT_FALSE(on.sliding_window(1));
  EXPECT_EQ(on.sliding_window(2), 8);
}

TEST(SlidingWindow, FollowsLayerTypes) {
  const HfConfig hf = parse(R"({"sliding_window": 8, "layer_types":
      ["sliding_attention", "full_attention", "linear_attention"]})");

  EXPECT_EQ(hf.sliding_window(0), 8);
  EXPECT_FALSE(hf.sliding_window(1));
  EXPECT_THAT(thrown_by([&] { hf.sliding_window(2); }), HasSubstr("layer_types[2]"));
  EXPECT_THROW(hf.sliding_window(3), LoadError);
}

TEST(SlidingWindow, OfLlamaDoesNotExist) {
  EXPECT_FALSE(parse(R"({"model_type": "llama", "sliding_window": 8})").sliding_window(0));
}

}  // namespace
}  // namespace spate
