#include "weights/weights.h"

#include <gmock/gmock.h>

#include "core/load_error.h"
#include "tests/weights/files.h"

namespace spate {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// f32 tensors [2, 1] of the given names, all zero.
std::string zeros(const std::vector<std::string>& names) {
  std::string header = "{";
  for (std::size_t i = 0; i < names.size(); ++i) {
    header += (i == 0 ? "\"" : ",\"") + names[i] +
              R"(":{"dtype":"F32","shape":[2,1],"data_offsets":[)" + std::to_string(8 * i) + ',' +
              std::to_string(8 * i + 8) + "]}";
  }
  return aligned_safetensors(header + '}', std::string(8 * names.size(), '\0'));
}

class WeightsTest : public testing::Test {
 protected:
  Checkpoint open(const std::vector<std::string>& names) {
    return value_or_throw(Checkpoint::open(folder_.write("model.safetensors", zeros(names))));
  }

  TemporaryFolder folder_;
};

std::string thrown_by(const std::function<void()>& f) {
  try {
    f();
  } catch (const LoadError& e) {
    return e.error().message;
  }
  return "nothing";
}

TEST_F(WeightsTest, NarrowToModulesAndLayers) {
  Checkpoint checkpoint = open({"model.layers.3.up.weight"});
  WeightSource source(checkpoint);
  const Weights layer = source.root() / "model" / "layers" / 3;

  EXPECT_EQ(layer.path(), "model.layers.3");
  EXPECT_TRUE(layer.has("up"));
  EXPECT_FALSE(layer.has("down"));
  EXPECT_EQ((layer / "up").tensor("weight", {2, 1}).dim(0), 2);
}

TEST_F(WeightsTest, BeginAtAPrefixWhenAsked) {
  Checkpoint checkpoint = open({"language_model.norm.weight"});
  WeightSource source(checkpoint);

  EXPECT_TRUE(source.root("language_model").has("norm"));
}

TEST_F(WeightsTest, NameATensorThatIsMissingAndItsNeighbours) {
  Checkpoint checkpoint = open({"mlp.gate.weight"});
  WeightSource source(checkpoint);

  EXPECT_THAT(thrown_by([&] {
                (source.root() / "mlp").tensor("up.weight", {2, 1});
              }),
              AllOf(HasSubstr("tensor \"mlp.up.weight\" [2, 1] is missing"),
                    HasSubstr("there are \"mlp.gate.weight\""), HasSubstr("model.safetensors")));
}

TEST_F(WeightsTest, NameBothShapesWhenTheyDiffer) {
  Checkpoint checkpoint = open({"a"});
  WeightSource source(checkpoint);

  EXPECT_THAT(thrown_by([&] {
                source.root().tensor("a", {1, 2});
              }),
              AllOf(HasSubstr("\"a\" is [2, 1]"), HasSubstr("asks for [1, 2]")));
  EXPECT_THAT(thrown_by([&] { source.root().tensor("a", {2}); }), HasSubstr("asks for [2]"));
}

TEST_F(WeightsTest, RefuseTypesThatSpateDoesNotRead) {
  folder_.write(
      "m.safetensors",
      safetensors(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "12345678"));
  Checkpoint checkpoint = value_or_throw(Checkpoint::open(folder_.file("m.safetensors")));
  WeightSource source(checkpoint);

  EXPECT_THAT(thrown_by([&] { source.root().tensor("a", {1}); }), HasSubstr("is F64"));
}

TEST_F(WeightsTest, FindOptionalTensors) {
  Checkpoint checkpoint = open({"bias"});
  WeightSource source(checkpoint);

  EXPECT_TRUE(source.root().find("bias", {2, 1}).has_value());
  EXPECT_FALSE(source.root().find("weight", {2, 1}).has_value());
  EXPECT_THROW(source.root().find("bias", {7}), LoadError);
}

TEST_F(WeightsTest, FindTensorsOfAnyShape) {
  Checkpoint checkpoint = open({"scale"});
  WeightSource source(checkpoint);

  ASSERT_TRUE(source.root().find_flat("scale").has_value());
  EXPECT_EQ(source.root().find_flat("scale")->rank(), 1);
  EXPECT_EQ(source.root().find_flat("scale")->count(), 2);
  EXPECT_FALSE(source.root().find_flat("other").has_value());
  EXPECT_TRUE(source.finish(false));
}

TEST_F(WeightsTest, ReportWhatNobodyRead) {
  Checkpoint checkpoint = open({"a", "b", "c"});
  WeightSource source(checkpoint);
  source.root().tensor("b", {2, 1});

  EXPECT_THAT(source.unused(false), ElementsAre("a", "c"));
  const Result<void> finished = source.finish(false);
  ASSERT_FALSE(finished);
  EXPECT_THAT(finished.error().message, HasSubstr("2 tensors that this architecture does not use: "
                                                  "\"a\", \"c\""));
}

TEST_F(WeightsTest, AreFinishedWhenOnlyHarmlessTensorsAreLeft) {
  Checkpoint checkpoint =
      open({"a", "model.layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight"});
  WeightSource source(checkpoint);
  source.root().tensor("a", {2, 1});

  EXPECT_TRUE(source.finish(true));
  EXPECT_THAT(source.unused(false), ElementsAre("lm_head.weight"));
}

TEST(DummyWeights, HaveEveryShapeThatIsAskedFor) {
  Checkpoint dummy = Checkpoint::dummy({.optional_tensors = {"q.bias"}});
  WeightSource source(dummy);
  const Weights w = source.root() / "layers" / 0;

  EXPECT_EQ((w / "q").tensor("weight", {64, 32}).dtype(), DType::kBF16);
  EXPECT_TRUE((w / "q").find("bias", {64}).has_value());
  EXPECT_FALSE((w / "o").find("bias", {64}).has_value());
  EXPECT_TRUE(source.finish(false));
}

TEST(LoadResult, TurnsLoadErrorsIntoErrorsAndLetsValuesPass) {
  EXPECT_EQ(*load_result([] { return 3; }), 3);
  const Result<int> failed = load_result([]() -> int {
    require(false, "square wheels");
    return 0;
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(failed.error().message, "square wheels are not supported");
}

}  // namespace
}  // namespace spate
