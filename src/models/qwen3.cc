// Qwen3 (Qwen team, 2025): Llama with normalized queries and keys and a head size of its own.
#include "models/usual.h"

namespace spate {
namespace {

Attention qwen3_attention(const HfConfig& hf, const Params& w, std::int64_t index) {
  const std::int64_t dim = usual::heads(hf).dim;
  const float eps = hf.number("rms_norm_eps", 1e-6F);
  return usual::attention(hf, w, index)
      .with_query_key_norms({w / "q_norm", dim, eps}, {w / "k_norm", dim, eps});
}

class Qwen3Layer {
 public:
  Qwen3Layer(const HfConfig& hf, const Params& w, std::int64_t index)
      : attention_norm_(usual::norm(hf, w / "input_layernorm")),
        attention_(qwen3_attention(hf, w / "self_attn", index)),
        mlp_norm_(usual::norm(hf, w / "post_attention_layernorm")),
        mlp_(usual::mlp(hf, w / "mlp")) {}

  void operator()(Step& s, Residual& x) const {
    x += attention_(s, attention_norm_(x));
    x += mlp_(s, mlp_norm_(x));
  }

 private:
  RmsNorm attention_norm_;
  Attention attention_;
  RmsNorm mlp_norm_;
  GatedMlp mlp_;
};

}  // namespace

ModelPtr make_qwen3(const HfConfig& hf, const Params& w) {
  return usual::decoder<Qwen3Layer>(hf, w);
}

}  // namespace spate
