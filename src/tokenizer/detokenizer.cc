#include "tokenizer/detokenizer.h"

#include <utility>

#include "tokenizer/decode_streams.h"
#include "tokenizer/tokenizer_parts.h"

namespace spate {
namespace {

/// The end of the chain.
class TextStream final : public DecodeStream {
 public:
  explicit TextStream(std::string& text) : text_(text) {}
  void push(std::string_view text, bool) override { text_ += text; }
  void finish() override {}

 private:
  std::string& text_;
};

// A decoder looks back over the current run of bytes and over nothing else, except for whether a
// token came before at all.
constexpr std::size_t kContextTokens = 2 * ByteFallbackStream::kMaxRun;

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DecodeOptions options,
                         std::span<const TokenId> context)
    : tokenizer_(tokenizer),
      options_(options),
      stream_(tokenizer.parts().decoder->start(std::make_unique<TextStream>(text_))) {
  if (context.size() > kContextTokens) context = context.last(kContextTokens);
  for (const TokenId id : context) feed(id);
  text_.clear();
}

Detokenizer::~Detokenizer() = default;

void Detokenizer::feed(TokenId id) {
  const TokenizerParts& parts = tokenizer_.parts();
  if (options_.skip_special_tokens && parts.is_special(id)) return;
  if (const std::optional<std::string_view> text = parts.text(id)) stream_->push(*text, true);
}

std::string Detokenizer::push(TokenId id) {
  feed(id);
  return std::exchange(text_, {});
}

std::string Detokenizer::flush() {
  stream_->finish();
  return std::exchange(text_, {});
}

}  // namespace spate
