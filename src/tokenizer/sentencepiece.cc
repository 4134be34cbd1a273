#include "tokenizer/sentencepiece.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/load_error.h"
#include "tokenizer/protobuf.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocab.h"

namespace spate {
namespace {

PieceType parse_piece_type(ProtobufReader& reader) {
  const std::uint64_t type = reader.varint();
  if (type < 1 || type > 6) reader.refuse(fmt::format("unknown piece type {}", type));
  return static_cast<PieceType>(type);
}

SentencePieceModel::Algorithm parse_algorithm(ProtobufReader& reader) {
  const std::uint64_t type = reader.varint();
  if (type != 1 && type != 2) {
    reader.refuse(fmt::format("model type {}; only UNIGRAM (1) and BPE (2) are known", type));
  }
  return static_cast<SentencePieceModel::Algorithm>(type);
}

Piece parse_piece(ProtobufReader reader, std::size_t index) {
  Piece piece;
  while (reader.next()) {
    switch (reader.field()) {
      case 1:
        piece.text = reader.bytes();
        break;
      case 2:
        piece.score = reader.real();
        break;
      case 3:
        piece.type = parse_piece_type(reader);
        break;
      default:
        break;
    }
  }
  if (piece.text.empty()) reader.refuse(fmt::format("piece {} is empty", index));
  if (!is_valid_utf8(piece.text)) reader.refuse(fmt::format("piece {} is not UTF-8", index));
  if (!std::isfinite(piece.score)) reader.refuse(fmt::format("piece {} has no score", index));
  return piece;
}

void parse_trainer(ProtobufReader reader, SentencePieceModel& model) {
  while (reader.next()) {
    switch (reader.field()) {
      case 3:
        model.algorithm = parse_algorithm(reader);
        break;
      case 24:
        model.whitespace_as_suffix = reader.boolean();
        break;
      case 35:
        model.byte_fallback = reader.boolean();
        break;
      case 45:
        model.unk_piece = reader.bytes();
        break;
      case 46:
        model.bos_piece = reader.bytes();
        break;
      case 47:
        model.eos_piece = reader.bytes();
        break;
      case 48:
        model.pad_piece = reader.bytes();
        break;
      default:
        break;
    }
  }
}

void parse_normalizer(ProtobufReader reader, SentencePieceModel& model) {
  while (reader.next()) {
    switch (reader.field()) {
      case 2:
        model.charsmap = reader.bytes();
        break;
      case 3:
        model.add_dummy_prefix = reader.boolean();
        break;
      case 4:
        model.remove_extra_whitespaces = reader.boolean();
        break;
      case 5:
        model.escape_whitespaces = reader.boolean();
        break;
      default:
        break;
    }
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source) {
  SentencePieceModel model;
  ProtobufReader reader(bytes, source);
  while (reader.next()) {
    switch (reader.field()) {
      case 1:
        model.pieces.push_back(parse_piece(reader.message(), model.pieces.size()));
        break;
      case 2:
        parse_trainer(reader.message(), model);
        break;
      case 3:
        parse_normalizer(reader.message(), model);
        break;
      default:
        break;
    }
  }
  if (model.pieces.empty()) reader.refuse("no pieces; not a SentencePiece model");
  if (static_cast<std::int64_t>(model.pieces.size()) > Vocab::kMaxIds) {
    reader.refuse(fmt::format("{} pieces, the limit is {}", model.pieces.size(), Vocab::kMaxIds));
  }
  return model;
}

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceModel& model,
                                                 const std::string& source)
    : charsmap_(Charsmap::parse(model.charsmap, source + ": precompiled_charsmap")),
      space_(model.escape_whitespaces ? kMetaSpace : " "),
      dummy_prefix_(model.add_dummy_prefix && !model.whitespace_as_suffix),
      dummy_suffix_(model.add_dummy_prefix && model.whitespace_as_suffix),
      collapse_(model.remove_extra_whitespaces) {
  std::vector<std::pair<std::string, std::int32_t>> keys;
  for (const Piece& piece : model.pieces) {
    if (piece.type == PieceType::kUserDefined) keys.emplace_back(piece.text, 0);
  }
  user_defined_ = ByteTrie(std::move(keys));
}

SentencePieceNormalizer::Step SentencePieceNormalizer::step(std::string_view text) const {
  if (const ByteTrie::Match match = user_defined_.longest(text, 0); match.length > 0) {
    return {match.length, text.substr(0, match.length)};
  }
  if (const auto match = charsmap_.longest(text)) return {match->length, match->replacement};
  const std::size_t length = utf8_length(text, 0);
  return {length, text.substr(0, length)};
}

void SentencePieceNormalizer::append(std::string_view text, std::string& out) const {
  for (const char c : text) {
    if (c == ' ') {
      out += space_;
    } else {
      out.push_back(c);
    }
  }
}

void SentencePieceNormalizer::apply(std::string& text) const {
  std::string_view rest = text;
  while (collapse_ && !rest.empty()) {
    const Step leading = step(rest);
    if (leading.text != " ") break;
    rest.remove_prefix(leading.length);
  }
  std::string out;
  out.reserve(text.size() + text.size() / 2 + kMetaSpace.size());
  if (dummy_prefix_ && !rest.empty()) out += space_;
  const bool any = !rest.empty();
  bool after_space = collapse_;
  while (!rest.empty()) {
    auto [length, piece] = step(rest);
    while (after_space && piece.starts_with(' ')) piece.remove_prefix(1);
    if (!piece.empty()) {
      append(piece, out);
      after_space = collapse_ && piece.ends_with(' ');
    }
    rest.remove_prefix(length);
  }
  while (collapse_ && out.ends_with(space_)) out.resize(out.size() - space_.size());
  if (dummy_suffix_ && any) out += space_;
  text = std::move(out);
}

}  // namespace spate
