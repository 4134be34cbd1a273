#include "models/blocks.h"

#include <array>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "core/load_error.h"
#include "weights/quote_name.h"

namespace spate {
namespace {

/// Bias of a linear map of n outputs, appended at `at`; zeros where the checkpoint has none.
void append_bias(std::vector<float>& bias, const Params& w, std::int64_t n) {
  std::vector<float> own = w.optional_values("bias", n);
  own.resize(static_cast<std::size_t>(n));
  bias.insert(bias.end(), own.begin(), own.end());
}

void pad_to_panel(std::vector<float>& bias) {
  while (bias.size() % kPanelColumns != 0) bias.push_back(0.0F);
}

Matrix& linear(const Params& w, std::int64_t n, std::int64_t k, ParamStore::Use use) {
  const Tensor weight = w.tensor("weight", {n, k});
  Matrix& m = w.store().matrix(weight.dtype(), k, panels_of(weight), use);
  if (w.has("bias")) {
    std::vector<float> bias;
    append_bias(bias, w, n);
    pad_to_panel(bias);
    m.set_bias(std::move(bias));
  }
  return m;
}

/// Appends the panels (and biases) of a projection to `n` heads.
void append_heads(const Params& w, std::int64_t n_heads, const AttentionSpec& spec,
                  std::vector<PanelSource>& panels, std::vector<float>& bias) {
  const std::int64_t dim = spec.heads.dim;
  const Tensor weight = w.tensor("weight", {n_heads * dim, spec.hidden});
  const std::vector<PanelSource> own = head_panels_of(weight, dim);
  panels.insert(panels.end(), own.begin(), own.end());
  std::vector<float> b = w.optional_values("bias", n_heads * dim);
  b.resize(static_cast<std::size_t>(n_heads * dim));
  for (auto head = b.begin(); head != b.end(); head += dim) {
    bias.insert(bias.end(), head, head + dim);
    pad_to_panel(bias);
  }
}

Matrix& fused_qkv(const Params& w, const AttentionSpec& spec) {
  std::vector<PanelSource> panels;
  std::vector<float> bias;
  append_heads(w / "q_proj", spec.heads.query, spec, panels, bias);
  append_heads(w / "k_proj", spec.heads.kv, spec, panels, bias);
  append_heads(w / "v_proj", spec.heads.kv, spec, panels, bias);
  const Tensor q =
      (w / "q_proj").tensor("weight", {spec.heads.query * spec.heads.dim, spec.hidden});
  for (const char* other : {"k_proj", "v_proj"}) {
    const Tensor t = (w / other).tensor("weight", {spec.heads.kv * spec.heads.dim, spec.hidden});
    require(t.dtype() == q.dtype(), "q_proj, k_proj and v_proj of different dtypes");
  }
  Matrix& m = w.store().matrix(q.dtype(), spec.hidden, std::move(panels), ParamStore::Use::kLinear);
  if ((w / "q_proj").has("bias") || (w / "k_proj").has("bias") || (w / "v_proj").has("bias")) {
    m.set_bias(std::move(bias));
  }
  return m;
}

/// What an e4m3 cache's keys or values are divided by, a number for each kv head; null where the
/// checkpoint says nothing. It has one for all heads or one for each, beside the projection
/// (compressed-tensors) or within it (ModelOpt).
const float* cache_scale(const Params& w, const char* name, const char* projection,
                         std::int64_t heads) {
  const Params place = w.has(name) ? w : w / projection;
  std::vector<float> scales = place.optional_values(name);
  if (scales.empty()) return nullptr;
  const auto n = static_cast<std::int64_t>(scales.size());
  if (n != 1 && n != heads) {
    throw LoadError(ErrorCode::kCorrupt,
                    fmt::format("{} has {} numbers; one for all key-value heads or one for each of "
                                "the {} is wanted",
                                quote_name(place.path() + "." + name), n, heads));
  }
  for (const float scale : scales) {
    if (std::isfinite(scale) && scale > 0) continue;
    throw LoadError(ErrorCode::kCorrupt,
                    fmt::format("{} has {}; what keys or values are divided by is positive",
                                quote_name(place.path() + "." + name), scale));
  }
  scales.resize(static_cast<std::size_t>(heads), scales.front());
  return w.store().vector(scales);
}

/// Of a tensor with the batch's rows, those whose logits are wanted.
Tensor logit_rows_of(Step& s, Tensor x) {
  const auto wanted = static_cast<std::int64_t>(s.batch.logit_rows.size());
  if (x.dim(0) == wanted) return x;
  const Tensor kept = s.arena.allocate(x.dtype(), {wanted, x.dim(1)});
  ops::gather_rows(s.device, kept, x, s.batch);
  return kept;
}

}  // namespace

Residual& Residual::operator+=(const Branch& branch) {
  Step& s = *branch.step;
  if (branch.last_attention) keep_logit_rows(s);
  Rows rows = branch.rows;
  if (rows.count() != values_.dim(0)) rows.values = logit_rows_of(s, rows.values);
  ops::matmul_add(s.device, s.arena, values_, rows, *branch.map);
  return *this;
}

void Residual::keep_logit_rows(Step& s) { values_ = logit_rows_of(s, values_); }

RmsNorm::RmsNorm(const Params& w, std::int64_t n, float eps)
    : params_{.kind = NormParams::Kind::kRms,
              .weight = w.store().vector(w.tensor("weight", {n})),
              .eps = eps} {}

Embedding::Embedding(const Params& w, std::int64_t vocab, std::int64_t hidden)
    : table_(&w.store().table(w.tensor("weight", {vocab, hidden}))) {}

Tensor Embedding::operator()(Step& s) const {
  const Tensor out = s.arena.allocate(DType::kF32, {s.batch.rows(), table_->dim(1)});
  ops::embed(s.device, out, *table_, s.batch);
  return out;
}

Attention::Attention(const AttentionSpec& spec, const Params& w)
    : layer_(spec.layer),
      qkv_(&fused_qkv(w, spec)),
      output_(&linear(w / "o_proj", spec.hidden, spec.heads.query * spec.heads.dim,
                      ParamStore::Use::kLinear)),
      heads_(spec.heads),
      attention_{.query_heads = spec.heads.query,
                 .window = spec.window,
                 .k_scale = cache_scale(w, "k_scale", "k_proj", spec.heads.kv),
                 .v_scale = cache_scale(w, "v_scale", "v_proj", spec.heads.kv)} {
  if (spec.rope) rope_ = &w.store().rope(*spec.rope, spec.heads.dim, w.n_positions());
  const float scale = spec.scale.value_or(1.0F / std::sqrt(static_cast<float>(spec.heads.dim)));
  query_scale_ = scale * std::numbers::log2e_v<float>;
}

Attention Attention::with_query_key_norms(const RmsNorm& q, const RmsNorm& k) && {
  query_norm_ = q.params();
  key_norm_ = k.params();
  return std::move(*this);
}

Branch Attention::operator()(Step& s, const Rows& x) const {
  const ops::QkvParams params{.query_heads = heads_.query,
                              .kv_heads = heads_.kv,
                              .head_dim = heads_.dim,
                              .rope = rope_ != nullptr ? rope_->view() : ops::RopeTable{},
                              .query_norm = query_norm_ ? &*query_norm_ : nullptr,
                              .key_norm = key_norm_ ? &*key_norm_ : nullptr,
                              .query_scale = query_scale_,
                              .k_scale = attention_.k_scale,
                              .v_scale = attention_.v_scale};
  const KvLayer layer = s.kv.layer(layer_);
  const Tensor queries =
      ops::project_qkv(s.device, s.arena, x, *qkv_, params, {.layer = layer, .batch = s.batch});
  const Rows attended =
      ops::attention(s.device, s.arena, queries, layer, s.batch, attention_, output_->row_format());
  return {.step = &s,
          .rows = attended,
          .map = output_,
          .last_attention = layer_ + 1 == s.kv.geometry().layers};
}

ops::Activation activation_named(std::string_view hf_name) {
  struct Name {
    std::string_view name;
    ops::Activation activation;
  };
  static constexpr auto kNames = std::to_array<Name>({
      {"silu", ops::Activation::kSilu},
      {"swish", ops::Activation::kSilu},
      {"gelu", ops::Activation::kGelu},
      {"gelu_new", ops::Activation::kGeluTanh},
      {"gelu_pytorch_tanh", ops::Activation::kGeluTanh},
      {"gelu_fast", ops::Activation::kGeluTanh},
      {"relu", ops::Activation::kRelu},
      {"quick_gelu", ops::Activation::kQuickGelu},
  });
  for (const Name& n : kNames) {
    if (n.name == hf_name) return n.activation;
  }
  throw LoadError(ErrorCode::kUnsupported,
                  fmt::format("config.json: hidden_act \"{}\" is not supported", hf_name));
}

GatedMlp::GatedMlp(const Params& gate, const Params& up, const Params& down, Shape shape,
                   ops::Activation activation)
    : activation_(activation) {
  const Tensor g = gate.tensor("weight", {shape.intermediate, shape.hidden});
  const Tensor u = up.tensor("weight", {shape.intermediate, shape.hidden});
  require(g.dtype() == u.dtype(), "gate_proj and up_proj of different dtypes");
  gate_up_ = &gate.store().matrix(g.dtype(), shape.hidden, interleaved(panels_of(g), panels_of(u)),
                                  ParamStore::Use::kLinear, PanelOrder::kGateUp);
  if (gate.has("bias") || up.has("bias")) {
    std::vector<float> gate_bias;
    std::vector<float> up_bias;
    append_bias(gate_bias, gate, shape.intermediate);
    append_bias(up_bias, up, shape.intermediate);
    pad_to_panel(gate_bias);
    pad_to_panel(up_bias);
    std::vector<float> bias;
    for (std::size_t i = 0; i < gate_bias.size(); i += kPanelColumns) {
      const auto from = static_cast<std::ptrdiff_t>(i);
      bias.insert(bias.end(), gate_bias.begin() + from, gate_bias.begin() + from + kPanelColumns);
      bias.insert(bias.end(), up_bias.begin() + from, up_bias.begin() + from + kPanelColumns);
    }
    gate_up_->set_bias(std::move(bias));
  }
  down_ = &linear(down, shape.hidden, shape.intermediate, ParamStore::Use::kLinear);
}

Branch GatedMlp::operator()(Step& s, const Rows& x) const {
  const Rows inner =
      ops::gated_matmul(s.device, s.arena, x, *gate_up_, activation_, down_->row_format());
  return {.step = &s, .rows = inner, .map = down_};
}

LmHead::LmHead(const Params& w, std::int64_t vocab, std::int64_t hidden)
    : map_(&linear(w, vocab, hidden, ParamStore::Use::kHead)), vocab_(vocab) {}

Tensor LmHead::operator()(Step& s, const Rows& x) const {
  const Tensor logits = s.arena.allocate(DType::kF32, {x.count(), vocab_});
  ops::matmul(s.device, s.arena, logits, x, *map_);
  return logits;
}

}  // namespace spate
