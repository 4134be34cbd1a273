#include "models/usual.h"

namespace spate::usual {

Heads heads(const HfConfig& hf) {
  const DecoderShape shape = hf.decoder_shape();
  return {.query = shape.query_heads, .kv = shape.kv_heads, .dim = shape.head_dim};
}

Attention attention(const HfConfig& hf, const Params& w, std::int64_t layer) {
  return {{.layer = layer,
           .hidden = hf.extent("hidden_size"),
           .heads = heads(hf),
           .rope = hf.rope(),
           .window = hf.sliding_window(layer)},
          w};
}

GatedMlp mlp(const HfConfig& hf, const Params& w) {
  return {w / "gate_proj",
          w / "up_proj",
          w / "down_proj",
          {.hidden = hf.extent("hidden_size"), .intermediate = hf.extent("intermediate_size")},
          activation_named(hf.text("hidden_act", "silu"))};
}

RmsNorm norm(const HfConfig& hf, const Params& w) {
  return {w, hf.extent("hidden_size"), hf.number("rms_norm_eps", 1e-6F)};
}

}  // namespace spate::usual
