// A decoder-only language model: embedding, a stack of layers, a norm, an output head.
#pragma once

#include <memory>
#include <vector>

#include "models/blocks.h"

namespace spate {

/// Thread-compatible: `forward` is const and called by the thread that owns the step.
class LanguageModel {
 public:
  LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;
  virtual ~LanguageModel() = default;

  /// Logits of the rows in `s.batch.logit_rows`: f32 [logit rows, vocab], in the step's arena.
  virtual Tensor forward(Step& s) const = 0;
  virtual KvGeometry kv_geometry() const = 0;
  virtual std::int64_t vocab_size() const = 0;
};

using ModelPtr = std::unique_ptr<LanguageModel>;

/// A Layer is constructed with (hf, params, index) and called with (step, residual).
template <class Layer, class Norm>
class Decoder : public LanguageModel {
 public:
  struct Parts {
    Embedding embed;
    Params layers;
    Norm norm;
    LmHead head;
    KvGeometry kv{};
    std::int64_t vocab = 0;
  };

  Decoder(const HfConfig& hf, const Parts& parts)
      : embed_(parts.embed),
        norm_(parts.norm),
        head_(parts.head),
        kv_(parts.kv),
        vocab_(parts.vocab) {
    layers_.reserve(static_cast<std::size_t>(kv_.layers));
    for (std::int64_t i = 0; i < kv_.layers; ++i) layers_.emplace_back(hf, parts.layers / i, i);
  }

  Tensor forward(Step& s) const override {
    Residual x(embed_(s));
    const std::int64_t mark = s.arena.mark();
    for (const Layer& layer : layers_) {
      s.arena.reset(mark);  // a layer leaves nothing but the stream
      layer(s, x);
    }
    if (s.batch.logit_rows.empty()) return {};
    x.keep_logit_rows(s);
    return head_(s, norm_(x));
  }

  KvGeometry kv_geometry() const override { return kv_; }
  std::int64_t vocab_size() const override { return vocab_; }

 private:
  Embedding embed_;
  std::vector<Layer> layers_;
  Norm norm_;
  LmHead head_;
  KvGeometry kv_;
  std::int64_t vocab_;
};

}  // namespace spate
