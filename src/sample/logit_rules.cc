#include "sample/logit_rules.h"

#include <algorithm>
#include <limits>

namespace spate {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

float& at(std::span<float> row, TokenId id) { return row[static_cast<std::size_t>(id)]; }

void mask(const std::vector<TokenId>& ids, std::span<float> row) {
  for (const TokenId id : ids) at(row, id) = kMasked;
}

std::vector<TokenId> sorted_unique(std::vector<TokenId> ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

struct Applier {
  const TokenHistory& history;
  std::span<float> row;

  void operator()(const AllowOnly& rule) const {
    auto gap = row.begin();
    for (const TokenId id : rule.ids) {
      std::fill(gap, row.begin() + id, kMasked);
      gap = row.begin() + id + 1;
    }
    std::fill(gap, row.end(), kMasked);
  }
  void operator()(const Ban& rule) const { mask(rule.ids, row); }
  void operator()(const BanUntil& rule) const {
    if (history.outputs() < rule.outputs) mask(rule.ids, row);
  }
  void operator()(const AddBias& rule) const {
    for (const auto& [id, bias] : rule.biases) at(row, id) += bias;
  }
  void operator()(const PenalizeRepetition& rule) const {
    for (const auto& seen : history.entries()) {
      if (!seen.in_prompt && seen.outputs == 0) continue;
      float& logit = at(row, seen.id);
      logit = logit > 0 ? logit / rule.factor : logit * rule.factor;
    }
  }
  void operator()(const PenalizePresence& rule) const {
    for (const auto& seen : history.entries()) {
      if (seen.outputs > 0) at(row, seen.id) -= rule.amount;
    }
  }
  void operator()(const PenalizeFrequency& rule) const {
    for (const auto& seen : history.entries()) {
      if (seen.outputs > 0) at(row, seen.id) -= rule.amount * static_cast<float>(seen.outputs);
    }
  }
};

// An id beyond the vocabulary, as in some published configs, can never be sampled anyway.
std::vector<TokenId> ending_ids(const SamplingParams& params, std::int64_t vocab_size,
                                std::span<const TokenId> eos_ids) {
  std::vector<TokenId> ids = params.stop_token_ids;
  if (!params.ignore_eos) ids.insert(ids.end(), eos_ids.begin(), eos_ids.end());
  std::erase_if(ids, [&](TokenId id) { return id < 0 || id >= vocab_size; });
  return sorted_unique(std::move(ids));
}

}  // namespace

std::vector<LogitRule> make_logit_rules(const SamplingParams& params, std::int64_t vocab_size,
                                        std::span<const TokenId> eos_ids) {
  std::vector<LogitRule> rules;
  if (!params.allowed_token_ids.empty()) {
    rules.emplace_back(AllowOnly{sorted_unique(params.allowed_token_ids)});
  }
  if (!params.banned_token_ids.empty()) {
    rules.emplace_back(Ban{sorted_unique(params.banned_token_ids)});
  }
  if (params.min_tokens > 0) {
    std::vector<TokenId> ids = ending_ids(params, vocab_size, eos_ids);
    if (!ids.empty()) rules.emplace_back(BanUntil{params.min_tokens, std::move(ids)});
  }
  if (!params.logit_bias.empty()) {
    rules.emplace_back(AddBias{{params.logit_bias.begin(), params.logit_bias.end()}});
  }
  if (params.repetition_penalty != 1) {
    rules.emplace_back(PenalizeRepetition{params.repetition_penalty});
  }
  if (params.presence_penalty != 0) rules.emplace_back(PenalizePresence{params.presence_penalty});
  if (params.frequency_penalty != 0) {
    rules.emplace_back(PenalizeFrequency{params.frequency_penalty});
  }
  return rules;
}

bool reads_tokens(const LogitRule& rule) {
  return std::holds_alternative<PenalizeRepetition>(rule) ||
         std::holds_alternative<PenalizePresence>(rule) ||
         std::holds_alternative<PenalizeFrequency>(rule);
}

void apply(const LogitRule& rule, const TokenHistory& history, std::span<float> row) {
  std::visit(Applier{history, row}, rule);
}

}  // namespace spate
