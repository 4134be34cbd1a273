#include "engine/stream.h"

#include <algorithm>

namespace spate {
namespace {

bool contains(std::span<const TokenId> ids, TokenId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

TokenLogprobs to_public(const SampledToken& token) {
  TokenLogprobs out{.chosen = token.logprob.value_or(0.0F)};
  for (const TokenLogprob& t : token.top) out.top.push_back({.id = t.id, .logprob = t.logprob});
  return out;
}

}  // namespace

Stream::Stream(const Shared& shared, std::int64_t index)
    : shared_(shared),
      key_{.seed = shared.seed, .sequence = static_cast<std::uint32_t>(index)},
      history_(shared.sampler.tracks_tokens()),
      stop_(shared.params.stop, shared.params.include_stop_str_in_output) {
  completion_.index = index;
  history_.add_prompt(shared.prompt);
  if (shared.tokenizer != nullptr) {
    detokenizer_.emplace(*shared.tokenizer,
                         DecodeOptions{.skip_special_tokens = shared.params.skip_special_tokens});
  }
}

void Stream::sample(std::span<const float> logits, SamplerScratch& scratch) {
  const Result<void> done = shared_.sampler.sample(logits, history_, key_, &scratch, &sampled_);
  if (!done) error_ = done.error();
}

void Stream::take(const DeviceToken& token) {
  if (token.error) error_ = token.error;
  sampled_.id = token.id;
  sampled_.logprob = token.logprob;
  sampled_.top.clear();
}

bool Stream::is_stop_token(TokenId token) const {
  if (!shared_.params.ignore_eos && contains(shared_.eos_ids, token)) return true;
  return contains(shared_.params.stop_token_ids, token);
}

Stream::Accepted Stream::accept() {
  if (error_) {
    fail(*std::exchange(error_, std::nullopt));
    return {.finished = true};
  }
  const TokenId token = sampled_.id;
  Accepted accepted{.token = token};
  history_.add_output(token);
  completion_.token_ids.push_back(token);
  if (shared_.params.logprobs) completion_.logprobs.push_back(to_public(sampled_));
  if (is_stop_token(token)) {
    completion_.finish_reason = FinishReason::kStop;
    accepted.finished = true;
  } else if (detokenizer_) {
    const std::string piece = detokenizer_->push(token);
    const bool may_stop =
        static_cast<std::int64_t>(completion_.token_ids.size()) >= shared_.params.min_tokens;
    accepted.text = may_stop ? stop_.feed(piece) : stop_.pass(piece);
    if (stop_.matched()) {
      completion_.finish_reason = FinishReason::kStop;
      accepted.finished = true;
    }
  }
  const auto n = static_cast<std::int64_t>(completion_.token_ids.size());
  if (!accepted.finished && n >= shared_.params.max_tokens) {
    completion_.finish_reason = FinishReason::kLength;
    accepted.finished = true;
  }
  if (accepted.finished && detokenizer_ && !stop_.matched()) {
    accepted.text += stop_.feed(detokenizer_->flush());
    accepted.text += stop_.finish();
  }
  completion_.text += accepted.text;
  return accepted;
}

void Stream::finish(FinishReason reason) {
  completion_.finish_reason = reason;
  if (detokenizer_ && !stop_.matched()) {
    completion_.text += stop_.feed(detokenizer_->flush());
    completion_.text += stop_.finish();
  }
}

void Stream::fail(Error error) {
  completion_.finish_reason = FinishReason::kError;
  completion_.error = std::move(error);
}

}  // namespace spate
