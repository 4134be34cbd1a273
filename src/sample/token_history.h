// Which tokens a sequence has seen and how often, kept up to date token by token: what the
// penalties of a step cost depends on the distinct tokens, not on the vocabulary or the length.
// Thread-compatible; one per sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "spate/sampling.h"

namespace spate {

class TokenHistory {
 public:
  struct Entry {
    TokenId id = 0;
    std::int32_t outputs = 0;
    bool in_prompt = false;
  };

  /// Without `track_tokens` only the number of outputs is kept (Sampler::tracks_tokens() says
  /// whether the tokens themselves are needed).
  explicit TokenHistory(bool track_tokens) : track_tokens_(track_tokens) {}

  /// Room for this many distinct tokens, so that adding them allocates nothing.
  void reserve(std::int64_t distinct);

  void add_prompt(std::span<const TokenId> ids);
  void add_output(TokenId id);
  /// Takes back the last add_output(id), as after a rejected draft.
  void remove_output(TokenId id);

  std::int64_t outputs() const { return outputs_; }
  /// Every token seen, once, in the order of first sight.
  std::span<const Entry> entries() const { return entries_; }

 private:
  Entry& entry(TokenId id);
  std::size_t slot_of(TokenId id) const;
  void rehash(std::size_t slots);

  bool track_tokens_;
  std::int64_t outputs_ = 0;
  std::vector<Entry> entries_{};
  std::vector<std::int32_t> slots_{};  // [power of two] index into entries_, -1: free
};

}  // namespace spate
