// Llama (Touvron et al., 2023). Mistral and Qwen2 are the same network: the first adds a sliding
// window, the second biases on q, k and v, which the linear maps find in the checkpoint.
#include "models/usual.h"

namespace spate {
namespace {

class LlamaLayer {
 public:
  LlamaLayer(const HfConfig& hf, const Params& w, std::int64_t index)
      : attention_norm_(usual::norm(hf, w / "input_layernorm")),
        attention_(usual::attention(hf, w / "self_attn", index)),
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

ModelPtr make_llama(const HfConfig& hf, const Params& w) {
  return usual::decoder<LlamaLayer>(hf, w);
}

}  // namespace spate
