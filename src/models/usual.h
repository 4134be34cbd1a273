// The spellings that most Hugging Face checkpoints share with Llama. A model file uses what fits
// and writes the rest itself.
#pragma once

#include "models/language_model.h"

namespace spate::usual {

Heads heads(const HfConfig& hf);

/// q_proj, k_proj, v_proj and o_proj with rotary positions; a sliding window if configured.
Attention attention(const HfConfig& hf, const Params& w, std::int64_t layer);

/// down_proj(act(gate_proj(x)) * up_proj(x)).
GatedMlp mlp(const HfConfig& hf, const Params& w);

/// Over the hidden size.
RmsNorm norm(const HfConfig& hf, const Params& w);

/// model.embed_tokens, model.layers, model.norm and lm_head (or the embedding again when tied).
template <class Layer>
ModelPtr decoder(const HfConfig& hf, const Params& w) {
  using Model = Decoder<Layer, RmsNorm>;
  const DecoderShape shape = hf.decoder_shape();
  const Params embed = w / "model" / "embed_tokens";
  const bool tied = hf.flag("tie_word_embeddings", false);
  return std::make_unique<Model>(
      hf,
      typename Model::Parts{
          .embed = {embed, shape.vocab, shape.hidden},
          .layers = w / "model" / "layers",
          .norm = norm(hf, w / "model" / "norm"),
          .head = {tied ? embed : w / "lm_head", shape.vocab, shape.hidden},
          .kv = {.layers = shape.layers, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim},
          .vocab = shape.vocab});
}

}  // namespace spate::usual
