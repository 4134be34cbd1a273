// The vocabulary in which every architecture is written. A block owns its part of the checkpoint's
// meaning (names, shapes, fusion) and hides batches, dtypes, formats and the cache from the model.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "models/params.h"
#include "models/step.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace spate {

/// A branch of the residual stream that is not yet computed: rows and the matrix that maps them
/// back to the stream. Adding it to a Residual multiplies and adds in one operator.
struct [[nodiscard]] Branch {
  Step* step = nullptr;
  Rows rows{};
  const Matrix* map = nullptr;
  bool last_attention = false;  // rows do not see each other any more behind it
};

/// The residual stream, f32 [rows, hidden]. `x += branch` changes it at once: normalize before
/// adding, as every pre-norm layer does. From the last attention on it holds only the rows whose
/// logits are wanted: of a prompt, one.
class Residual {
 public:
  explicit Residual(Tensor values) : values_(values) {}
  Residual& operator+=(const Branch& branch);
  Tensor values() const { return values_; }
  /// The rows whose logits are wanted; does nothing the second time.
  void keep_logit_rows(Step& s);

 private:
  Tensor values_;
};

class RmsNorm {
 public:
  RmsNorm(const Params& w, std::int64_t n, float eps);
  /// The rows normalized; evaluated inside the operator that consumes them.
  Rows operator()(const Residual& x) const { return operator()(x.values()); }
  Rows operator()(Tensor x) const { return {.values = x, .norm = params_}; }
  const NormParams& params() const { return params_; }

 private:
  NormParams params_;
};

class Embedding {
 public:
  Embedding(const Params& w, std::int64_t vocab, std::int64_t hidden);
  Tensor operator()(Step& s) const;

 private:
  Tensor* table_ = nullptr;  // [vocab, hidden], in the checkpoint or on the GPU
};

// Attention ------------------------------------------------------------------------------------
struct Heads {
  std::int64_t query = 0;
  std::int64_t kv = 0;
  std::int64_t dim = 0;
};

struct AttentionSpec {
  std::int64_t layer = 0;
  std::int64_t hidden = 0;
  Heads heads{};
  std::optional<RopeConfig> rope = std::nullopt;
  std::optional<std::int64_t> window = std::nullopt;  // tokens a query sees, itself included
  std::optional<float> scale = std::nullopt;          // 1 / sqrt(head_dim) when absent
};

/// Causal self-attention over the cache (Vaswani et al., 2017; grouped heads: Ainslie et al.,
/// 2023). Biases are used where the checkpoint has them.
class Attention {
 public:
  /// Finds q_proj, k_proj, v_proj and o_proj under `w`.
  Attention(const AttentionSpec& spec, const Params& w);
  /// Normalizes each head's queries and keys before the rotation (Qwen3).
  Attention with_query_key_norms(const RmsNorm& q, const RmsNorm& k) &&;
  Branch operator()(Step& s, const Rows& x) const;

 private:
  std::int64_t layer_ = 0;
  Matrix* qkv_ = nullptr;
  Matrix* output_ = nullptr;
  RopeTable* rope_ = nullptr;
  Heads heads_{};
  float query_scale_ = 1.0F;
  std::optional<NormParams> query_norm_;
  std::optional<NormParams> key_norm_;
  ops::AttentionParams attention_{};
};

// Feed-forward ---------------------------------------------------------------------------------
/// Hugging Face's names: silu, gelu, gelu_new, ...; others throw LoadError.
ops::Activation activation_named(std::string_view hf_name);

/// down_proj(act(gate_proj(x)) * up_proj(x)) (Shazeer, 2020).
class GatedMlp {
 public:
  struct Shape {
    std::int64_t hidden = 0;
    std::int64_t intermediate = 0;
  };
  GatedMlp(const Params& gate, const Params& up, const Params& down, Shape shape,
           ops::Activation activation);
  Branch operator()(Step& s, const Rows& x) const;

 private:
  Matrix* gate_up_ = nullptr;
  Matrix* down_ = nullptr;
  ops::Activation activation_;
};

/// Projection to logits.
class LmHead {
 public:
  LmHead(const Params& w, std::int64_t vocab, std::int64_t hidden);
  /// f32 [rows, vocab].
  Tensor operator()(Step& s, const Rows& x) const;

 private:
  Matrix* map_ = nullptr;
  std::int64_t vocab_ = 0;
};

}  // namespace spate
