// The tokens of a model: text to id and back. Ids may have holes but are bounded, so that a lying
// file cannot make tables of gigabytes. Built once, then immutable and shared by threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spate/sampling.h"

namespace spate {

class Vocab {
 public:
  /// The largest vocabularies in use have 262 thousand tokens.
  static constexpr std::int64_t kMaxIds = std::int64_t{1} << 22;

  /// Room for `tokens` tokens of `bytes` bytes in all; saves time only.
  void reserve(std::int64_t tokens, std::int64_t bytes);
  /// False, and nothing added, when the id is out of [0, kMaxIds). A text or id that is there
  /// already now belongs to the new token, as with Hugging Face.
  bool add(std::string_view token, std::int64_t id);

  std::optional<TokenId> find(std::string_view token) const;
  /// The text of `id`; nothing for holes and out of range.
  std::optional<std::string_view> token(TokenId id) const;
  /// Every id is below this.
  std::int64_t id_limit() const { return static_cast<std::int64_t>(by_id_.size()); }
  /// The number of distinct texts.
  std::int64_t size() const { return distinct_; }

 private:
  struct Entry {
    std::uint32_t begin = 0, length = 0;
    TokenId id = 0;
  };
  std::string_view text(const Entry& entry) const {
    return {arena_.data() + entry.begin, entry.length};
  }
  std::size_t slot_of(std::string_view token) const;
  void rehash(std::size_t slots);

  std::string arena_{};
  std::vector<Entry> entries_{};
  std::vector<std::int32_t> by_id_{};  // index into entries_ or -1
  std::vector<std::int32_t> slots_{};  // open addressing, index into entries_ or -1
  std::int64_t distinct_ = 0;
};

}  // namespace spate
