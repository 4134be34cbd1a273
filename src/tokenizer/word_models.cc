#include "tokenizer/word_models.h"

#include "tokenizer/utf8.h"

namespace spate {

void WordLevel::encode(std::string_view word, std::vector<TokenId>& out) const {
  const std::optional<TokenId> id = vocab().find(word);
  if (id || unk_id_) out.push_back(id ? *id : *unk_id_);
}

WordPiece::WordPiece(Vocab vocab, Options options)
    : Model(std::move(vocab)),
      options_(std::move(options)),
      unk_id_(this->vocab().find(options_.unk_token)) {}

void WordPiece::encode(std::string_view word, std::vector<TokenId>& out) const {
  std::vector<std::size_t> ends;  // of characters
  for (std::size_t at = 0; at < word.size(); at += utf8_length(word, at)) {
    ends.push_back(at + utf8_length(word, at));
  }
  const std::size_t before = out.size();
  bool known = static_cast<std::int64_t>(ends.size()) <= options_.max_characters;
  std::string text;
  for (std::size_t first = 0; known && first < ends.size();) {
    const std::size_t begin = first == 0 ? 0 : ends[first - 1];
    std::size_t last = ends.size();
    std::optional<TokenId> id;
    for (; last > first && !id; --last) {
      text = first == 0 ? "" : options_.prefix;
      text += word.substr(begin, ends[last - 1] - begin);
      id = vocab().find(text);
    }
    known = id.has_value();
    if (known) out.push_back(*id);
    first = last + 1;
  }
  if (known) return;
  out.resize(before);
  if (unk_id_) out.push_back(*unk_id_);
}

}  // namespace spate
