// tokenizer.model from anybody: refused or read, and what is read can be used.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto loaded = spate::Tokenizer::from_sentencepiece(bytes, "fuzz");
  if (!loaded) return 0;
  const spate::Tokenizer& tokenizer = **loaded;
  const auto ids =
      tokenizer.encode("He said: \xC3\xA9\xF0\x9F\x99\x82 12 \xE2\x96\x81<s>\n x\xFFy");
  for (const spate::TokenId id : ids) SPATE_CHECK_OP(id, <, tokenizer.vocab_size());
  SPATE_CHECK(spate::is_valid_utf8(tokenizer.decode(ids)));
  return 0;
}
