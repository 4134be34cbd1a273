// The rules that edit a row of logits before anything is drawn from it, as data in the order in
// which they apply. A rule touches the tokens it names and no others (AllowOnly: all others).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "sample/token_history.h"
#include "spate/sampling.h"

namespace spate {

struct AllowOnly {
  std::vector<TokenId> ids{};  // ascending, each once
};
struct Ban {
  std::vector<TokenId> ids{};
};
/// Bans the tokens that end a sequence until it has `outputs` output tokens.
struct BanUntil {
  std::int64_t outputs = 0;
  std::vector<TokenId> ids{};
};
struct AddBias {
  std::vector<std::pair<TokenId, float>> biases{};
};
/// Divides positive and multiplies other logits of tokens in the prompt or the output (Keskar et
/// al., "CTRL", 2019, section 4.1, in the form for logits of either sign that all engines use).
struct PenalizeRepetition {
  float factor = 1;
};
/// Subtracts once for a token of the output.
struct PenalizePresence {
  float amount = 0;
};
/// Subtracts once for each time a token is in the output.
struct PenalizeFrequency {
  float amount = 0;
};

using LogitRule = std::variant<AllowOnly, Ban, BanUntil, AddBias, PenalizeRepetition,
                               PenalizePresence, PenalizeFrequency>;

/// The rules that `params` asks for, those that change nothing left out. `params` is valid for
/// `vocab_size` (sample/params.h).
std::vector<LogitRule> make_logit_rules(const SamplingParams& params, std::int64_t vocab_size,
                                        std::span<const TokenId> eos_ids);

/// Whether the rule looks at which tokens the history holds, or would but for its count.
bool reads_tokens(const LogitRule& rule);

/// Edits `row` [vocab] in place.
void apply(const LogitRule& rule, const TokenHistory& history, std::span<float> row);

}  // namespace spate
