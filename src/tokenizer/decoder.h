// Decoders of tokenizer.json as streams: token texts go in one by one, finished text comes out as
// early as it is certain. Decoding at once is the same stream run to its end, so that both agree.
// A Decoder is immutable and shared; a DecodeStream belongs to one sequence.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"

namespace spate {

/// A stage of decoding: takes fragments of tokens and hands fragments to the next stage. All
/// fragments are whole characters.
class DecodeStream {
 public:
  DecodeStream() = default;
  virtual ~DecodeStream() = default;
  DecodeStream(const DecodeStream&) = delete;
  DecodeStream& operator=(const DecodeStream&) = delete;

  /// `begins`: the fragment is the first of a token, not the continuation of the last.
  virtual void push(std::string_view text, bool begins) = 0;
  /// Nothing more comes: what was held back goes out.
  virtual void finish() = 0;
};

class Decoder {
 public:
  Decoder() = default;
  virtual ~Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// A fresh stream that writes to `next`, which it owns.
  virtual std::unique_ptr<DecodeStream> start(std::unique_ptr<DecodeStream> next) const = 0;
};

/// Throws LoadError for a type that is not known.
std::unique_ptr<Decoder> make_decoder(const JsonNode& node);
std::unique_ptr<Decoder> make_byte_level_decoder();
/// What Hugging Face does without a decoder: tokens joined by spaces.
std::unique_ptr<Decoder> make_joining_decoder();

/// How SentencePiece turns pieces into text.
struct SentencePieceDecoding {
  bool strip_one_space = false;   // add_dummy_prefix
  bool strip_all_spaces = false;  // remove_extra_whitespaces
};
std::unique_ptr<Decoder> make_sentencepiece_decoder(SentencePieceDecoding rules);

}  // namespace spate
