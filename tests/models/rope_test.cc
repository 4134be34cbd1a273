#include "models/rope.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/json.h"
#include "core/load_error.h"

namespace spate {
namespace {

RopeConfig parse(const std::string& json) {
  return value_or_throw(HfConfig::parse(json, "config.json")).rope();
}

TEST(RopeFrequencies, EqualTransformersForEveryScalingAndDialect) {
  const Result<Json> cases = read_json("tests/models/data/rope.json");
  ASSERT_TRUE(cases) << cases.error().message;
  ASSERT_GE(cases->size(), 17U);
  for (const Json& c : *cases) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const RopeFrequencies f = rope_frequencies(parse(c.at("config").dump()),
                                               c.at("config").at("head_dim"), c.at("context"));
    ASSERT_EQ(f.inverse.size(), c.at("inverse").size());
    EXPECT_FLOAT_EQ(f.attention_scale, c.at("attention_scale"));
    for (std::size_t i = 0; i < f.inverse.size(); ++i) {
      // Six roundings of 2^-24 in both programs, one more in PyTorch's powf.
      const float expected = c.at("inverse")[i];
      EXPECT_NEAR(f.inverse[i], expected, expected * 8 * 0x1p-24F) << "pair " << i;
    }
  }
}

TEST(RopeFrequencies, OfDynamicScalingDependOnTheContextOnlyBeyondTheTrainedLength) {
  const RopeConfig rope = parse(R"({"max_position_embeddings": 64,
                                    "rope_scaling": {"type": "dynamic", "factor": 2.0}})");

  EXPECT_EQ(rope_frequencies(rope, 16, 1).inverse, rope_frequencies(rope, 16, 64).inverse);
  EXPECT_NE(rope_frequencies(rope, 16, 65).inverse, rope_frequencies(rope, 16, 64).inverse);
}

TEST(RopeFrequencies, RefuseAnOddRotaryDimension) {
  const RopeConfig rope = parse(R"({"max_position_embeddings": 64})");

  EXPECT_THROW(rope_frequencies(rope, 15, 64), LoadError);
}

TEST(RopeFrequencies, RefuseLongropeFactorsOfTheWrongNumber) {
  const RopeConfig rope =
      parse(R"({"max_position_embeddings": 64, "rope_scaling": {"type": "longrope",
                "short_factor": [1, 2], "long_factor": [1, 2]}})");

  EXPECT_NO_THROW(rope_frequencies(rope, 4, 64));
  EXPECT_THROW(rope_frequencies(rope, 16, 64), LoadError);
}

}  // namespace
}  // namespace spate
