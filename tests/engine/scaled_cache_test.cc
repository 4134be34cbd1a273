// Scales of an e4m3 cache in a checkpoint: read, checked, and nothing to the CPU, which has no such
// cache.
#include "tests/engine/scaled_cache.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/engine/golden.h"

namespace spate::test {
namespace {

const std::string kModel = "llama-gqa4-dim128";

TEST(ScaledCache, ChangesNothingElsewhere) {
  const TemporaryFolder folder;
  write_scaled_model(folder, kModel,
                     {{"self_attn.k_scale", {4096}}, {"self_attn.v_scale", {512, 512}}});
  const auto scaled = open({.model = folder.path()});
  const auto plain = open({.model = golden_folder(kModel)});
  ASSERT_NE(scaled, nullptr);
  const std::vector<TokenId> ids = load_goldens(golden_folder(kModel)).front().ids;

  EXPECT_EQ(distributions(*scaled, ids), distributions(*plain, ids));
}

TEST(ScaledCache, IsRefusedByTheNameThatItHas) {
  const TemporaryFolder folder;
  write_scaled_model(folder, kModel, {{"self_attn.v_proj.v_scale", {-1}}});
  const auto engine = Engine::create({.model = folder.path()});

  ASSERT_FALSE(engine);
  EXPECT_NE(engine.error().message.find("model.layers.0.self_attn.v_proj.v_scale"),
            std::string::npos)
      << engine.error().message;
}

TEST(ScaledCache, IsRefusedWithItsNameAndNumber) {
  struct Case {
    std::vector<float> scales;
    const char* said;
  };
  for (const Case& c : {Case{{1, 1, 1}, "has 3 numbers"}, Case{{0}, "has 0;"},
                        Case{{1, -2}, "has -2;"}, Case{{std::nanf("")}, "has nan;"}}) {
    const TemporaryFolder folder;
    write_scaled_model(folder, kModel, {{"self_attn.k_scale", c.scales}});
    const auto engine = Engine::create({.model = folder.path()});

    ASSERT_FALSE(engine);
    EXPECT_NE(engine.error().message.find(c.said), std::string::npos) << engine.error().message;
    EXPECT_NE(engine.error().message.find("model.layers.0.self_attn.k_scale"), std::string::npos);
  }
}

}  // namespace
}  // namespace spate::test
