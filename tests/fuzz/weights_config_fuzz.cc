// Any text as config.json and as generation_config.json: values that make sense, or a LoadError.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "core/load_error.h"
#include "weights/generation_config.h"
#include "weights/hf_config.h"

namespace {

using spate::HfConfig;

template <class F>
void attempt(F&& f) {
  try {
    f();
  } catch (const spate::LoadError& e) {
    SPATE_CHECK(!e.error().message.empty());
  }
}

void check_shape(const spate::DecoderShape& s) {
  SPATE_CHECK_OP(s.query_heads % s.kv_heads, ==, 0);
  SPATE_CHECK_OP(s.vocab, >, 0);
  std::int64_t bytes = 0;
  SPATE_CHECK(!__builtin_mul_overflow(s.layers * s.hidden, s.query_heads * s.head_dim, &bytes));
}

void check_rope(const spate::RopeConfig& r) {
  SPATE_CHECK(std::isfinite(1.0 / std::log(r.theta)));
  SPATE_CHECK(r.factor > 0 && std::isfinite(r.factor));
  SPATE_CHECK(r.high_freq_factor > r.low_freq_factor);
  SPATE_CHECK(r.beta_fast > 0 && r.beta_slow > 0);
  if (r.type != spate::RopeConfig::Type::kDefault) {
    SPATE_CHECK_OP(r.original_max_position_embeddings, >, 0);
  }
}

void read_all(const HfConfig& hf) {
  attempt([&] { check_shape(hf.decoder_shape()); });
  attempt([&] { check_rope(hf.rope()); });
  attempt([&] { check_rope(hf.rope("sliding_attention")); });
  for (const std::int64_t layer : {0, 1, 40}) {
    attempt([&] {
      const auto window = hf.sliding_window(layer);
      if (window) SPATE_CHECK_OP(*window, >, 0);
    });
  }
  attempt([&] { hf.architecture(); });
  attempt([&] { hf.dtype(); });
  attempt([&] { hf.eos_token_ids(); });
  attempt([&] { hf.number("rms_norm_eps"); });
  attempt([&] { hf.integer("bos_token_id"); });
  attempt([&] { hf.flag("tie_word_embeddings", false); });
  attempt([&] { hf.text("hidden_act"); });
  attempt([&] { read_all(hf.object("o")); });
}

}  // namespace

// The name is libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {  // NOLINT
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const spate::Result<HfConfig> hf = HfConfig::parse(text, "fuzz");
  if (hf) read_all(*hf);
  const auto generation = spate::GenerationConfig::parse(text, "fuzz");
  if (generation) SPATE_CHECK(generation->defaults.is_object());
  return 0;
}
