#include "tokenizer/vocab.h"

#include <functional>
#include <limits>

namespace spate {

void Vocab::reserve(std::int64_t tokens, std::int64_t bytes) {
  arena_.reserve(static_cast<std::size_t>(bytes));
  entries_.reserve(static_cast<std::size_t>(tokens));
  by_id_.reserve(static_cast<std::size_t>(tokens));
  std::size_t slots = 64;
  while (slots < 2 * static_cast<std::size_t>(tokens)) slots *= 2;
  if (slots > slots_.size()) rehash(slots);
}

bool Vocab::add(std::string_view token, std::int64_t id) {
  if (id < 0 || id >= kMaxIds) return false;
  if (arena_.size() + token.size() > std::numeric_limits<std::uint32_t>::max()) return false;
  if (2 * (entries_.size() + 1) > slots_.size()) {
    rehash(slots_.empty() ? 64 : 2 * slots_.size());
  }
  const auto index = static_cast<std::int32_t>(entries_.size());
  std::int32_t& slot = slots_[slot_of(token)];
  if (slot < 0) ++distinct_;
  entries_.push_back({static_cast<std::uint32_t>(arena_.size()),
                      static_cast<std::uint32_t>(token.size()), static_cast<TokenId>(id)});
  arena_ += token;
  slot = index;
  const auto place = static_cast<std::size_t>(id);
  if (place >= by_id_.size()) by_id_.resize(place + 1, -1);
  by_id_[place] = index;
  return true;
}

std::optional<TokenId> Vocab::find(std::string_view token) const {
  if (slots_.empty()) return std::nullopt;
  const std::int32_t index = slots_[slot_of(token)];
  if (index < 0) return std::nullopt;
  return entries_[static_cast<std::size_t>(index)].id;
}

std::optional<std::string_view> Vocab::token(TokenId id) const {
  if (id < 0 || id >= id_limit()) return std::nullopt;
  const std::int32_t index = by_id_[static_cast<std::size_t>(id)];
  if (index < 0) return std::nullopt;
  return text(entries_[static_cast<std::size_t>(index)]);
}

/// The slot that holds `token`, or the free one where it belongs.
std::size_t Vocab::slot_of(std::string_view token) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = std::hash<std::string_view>{}(token)&mask;
  while (slots_[slot] >= 0 && text(entries_[static_cast<std::size_t>(slots_[slot])]) != token) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Vocab::rehash(std::size_t slots) {
  slots_.assign(slots, -1);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    slots_[slot_of(text(entries_[i]))] = static_cast<std::int32_t>(i);
  }
}

}  // namespace spate
