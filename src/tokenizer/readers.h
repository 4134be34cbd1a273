// The readers of the tokenizer file formats. Each fills in TokenizerParts up to, but without,
// AddedTokens::build, so that a tokenizer_config.json can still refine them. They throw LoadError.
// Internal to src/tokenizer.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer_config.h"
#include "tokenizer/tokenizer_parts.h"

namespace spate {

/// tokenizer.json.
std::unique_ptr<TokenizerParts> read_tokenizer_json(std::string_view text,
                                                    const std::string& source);
/// tokenizer.model, a SentencePiece ModelProto. Its prefix space goes before every text between
/// special tokens, as SentencePiece would; tokenizer_config.json may ask for transformers' newer
/// rule ("legacy": false: before the beginning of the whole only, and not before another space) or
/// for none ("add_prefix_space": false).
std::unique_ptr<TokenizerParts> read_sentencepiece(std::string_view bytes,
                                                   const std::string& source,
                                                   const TokenizerConfig& config);
/// GPT-2's vocab.json and merges.txt.
std::unique_ptr<TokenizerParts> read_vocab_and_merges(const std::string& vocab_path,
                                                      const std::string& merges_path,
                                                      const TokenizerConfig& config);

}  // namespace spate
