#include "sample/token_history.h"

#include <bit>

#include "core/check.h"

namespace spate {

void TokenHistory::reserve(std::int64_t distinct) {
  if (!track_tokens_ || distinct <= 0) return;
  entries_.reserve(static_cast<std::size_t>(distinct));
  const auto wanted = std::bit_ceil(static_cast<std::size_t>(distinct) * 2);
  if (wanted > slots_.size()) rehash(wanted);
}

void TokenHistory::add_prompt(std::span<const TokenId> ids) {
  if (!track_tokens_) return;
  for (const TokenId id : ids) entry(id).in_prompt = true;
}

void TokenHistory::add_output(TokenId id) {
  ++outputs_;
  if (track_tokens_) ++entry(id).outputs;
}

void TokenHistory::remove_output(TokenId id) {
  SPATE_CHECK_OP(outputs_, >, 0);
  --outputs_;
  if (!track_tokens_) return;
  Entry& known = entry(id);
  SPATE_CHECK_OP(known.outputs, >, 0);
  --known.outputs;
}

TokenHistory::Entry& TokenHistory::entry(TokenId id) {
  // At most half full, so a search ends after about 1.5 looks.
  if ((entries_.size() + 1) * 2 > slots_.size()) rehash(slots_.empty() ? 64 : slots_.size() * 2);
  const std::size_t slot = slot_of(id);
  if (slots_[slot] < 0) {
    slots_[slot] = static_cast<std::int32_t>(entries_.size());
    entries_.push_back({.id = id});
  }
  return entries_[static_cast<std::size_t>(slots_[slot])];
}

std::size_t TokenHistory::slot_of(TokenId id) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = (static_cast<std::uint32_t>(id) * 0x9E3779B1U >> 7) & mask;
  while (slots_[slot] >= 0 && entries_[static_cast<std::size_t>(slots_[slot])].id != id) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void TokenHistory::rehash(std::size_t slots) {
  slots_.assign(slots, -1);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    slots_[slot_of(entries_[i].id)] = static_cast<std::int32_t>(i);
  }
}

}  // namespace spate
