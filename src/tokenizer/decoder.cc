#include "tokenizer/decoder.h"

#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/decode_streams.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

using Stream = std::unique_ptr<DecodeStream>;

/// A decoder without settings.
template <class S>
class PlainDecoder final : public Decoder {
 public:
  Stream start(Stream next) const override { return std::make_unique<S>(std::move(next)); }
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Stream start(Stream next) const override {
    return std::make_unique<ReplaceStream>(std::move(next), pattern_, content_);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, std::int64_t start, std::int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  Stream start(Stream next) const override {
    return std::make_unique<StripStream>(std::move(next), content_, start_, stop_);
  }

 private:
  std::string content_;
  std::int64_t start_, stop_;
};

class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool keep_first)
      : replacement_(std::move(replacement)), keep_first_(keep_first) {}
  Stream start(Stream next) const override {
    return std::make_unique<MetaspaceStream>(std::move(next), replacement_, keep_first_);
  }

 private:
  std::string replacement_;
  bool keep_first_;
};

class WordPieceDecoder final : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  Stream start(Stream next) const override {
    return std::make_unique<WordPieceStream>(std::move(next), prefix_, cleanup_);
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

class SuffixDecoder final : public Decoder {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(Pattern::literal(std::move(suffix))) {}
  Stream start(Stream next) const override {
    return std::make_unique<SuffixStream>(std::move(next), suffix_);
  }

 private:
  Pattern suffix_;
};

class SentencePieceDecoder final : public Decoder {
 public:
  explicit SentencePieceDecoder(SentencePieceDecoding rules) : rules_(rules) {}
  Stream start(Stream next) const override {
    return std::make_unique<SentencePieceStream>(std::move(next), rules_);
  }

 private:
  SentencePieceDecoding rules_;
};

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps)
      : steps_(std::move(steps)) {}
  Stream start(Stream next) const override {
    for (auto it = steps_.rbegin(); it != steps_.rend(); ++it) next = (*it)->start(std::move(next));
    return next;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

std::unique_ptr<Decoder> make_metaspace_decoder(const JsonNode& node) {
  const std::string scheme = node.text("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    node.refuse(ErrorCode::kUnsupported, fmt::format("unknown prepend_scheme '{}'", scheme));
  }
  const bool keep_first = scheme == "never" || !node.flag("add_prefix_space", true);
  return std::make_unique<MetaspaceDecoder>(node.character("replacement"), keep_first);
}

std::unique_ptr<Decoder> make_strip(const JsonNode& node) {
  const std::int64_t start = node.integer("start", 0);
  const std::int64_t stop = node.integer("stop", 0);
  if (start < 0 || stop < 0 || stop > 1024) {
    node.refuse(ErrorCode::kCorrupt,
                fmt::format("start {} and stop {} must be in [0, 1024]", start, stop));
  }
  return std::make_unique<StripDecoder>(node.character("content"), start, stop);
}

std::unique_ptr<Decoder> decoder_at(const JsonNode& node, int depth) {
  const std::string type = node.text("type");
  if (type == "Sequence") {
    node.limit_nesting(depth);
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const JsonNode& item : node.at("decoders").items()) {
      steps.push_back(decoder_at(item, depth + 1));
    }
    return std::make_unique<DecoderSequence>(std::move(steps));
  }
  if (type == "ByteLevel") return make_byte_level_decoder();
  if (type == "ByteFallback") return std::make_unique<PlainDecoder<ByteFallbackStream>>();
  if (type == "Fuse") return std::make_unique<PlainDecoder<FuseStream>>();
  if (type == "Strip") return make_strip(node);
  if (type == "Metaspace") return make_metaspace_decoder(node);
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(Pattern::from_json(node.at("pattern")),
                                            node.text("content"));
  }
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(node.text("prefix", "##"),
                                              node.flag("cleanup", true));
  }
  if (type == "BPEDecoder") return std::make_unique<SuffixDecoder>(node.text("suffix", "</w>"));
  node.refuse(ErrorCode::kUnsupported, fmt::format("unknown decoder '{}'", type));
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const JsonNode& node) { return decoder_at(node, 0); }

std::unique_ptr<Decoder> make_byte_level_decoder() {
  return std::make_unique<PlainDecoder<ByteLevelStream>>();
}

std::unique_ptr<Decoder> make_joining_decoder() {
  return std::make_unique<PlainDecoder<JoinStream>>();
}

std::unique_ptr<Decoder> make_sentencepiece_decoder(SentencePieceDecoding rules) {
  return std::make_unique<SentencePieceDecoder>(rules);
}

}  // namespace spate
