#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/load_error.h"
#include "tokenizer/readers.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/unigram.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

Vocab make_vocab(const SentencePieceModel& model, const std::string& source) {
  Vocab vocab;
  std::int64_t id = 0;
  for (const Piece& piece : model.pieces) {
    if (const std::optional<TokenId> other = vocab.find(piece.text)) {
      throw LoadError(ErrorCode::kCorrupt, fmt::format("{}: pieces {} and {} are both '{}'", source,
                                                       *other, id, piece.text));
    }
    if (!vocab.add(piece.text, id++)) {
      throw LoadError(ErrorCode::kCorrupt, fmt::format("{}: too many pieces", source));
    }
  }
  return vocab;
}

std::unique_ptr<Model> make_unigram(Vocab vocab, const SentencePieceModel& model) {
  UnigramOptions options;
  options.byte_fallback = model.byte_fallback;
  options.single_precision = true;
  float low = std::numeric_limits<float>::max();
  float high = std::numeric_limits<float>::min();  // as SentencePiece starts it
  std::vector<UnigramPiece> pieces;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const Piece& piece = model.pieces[i];
    const auto id = static_cast<TokenId>(i);
    if (piece.type == PieceType::kUnknown) options.unk_id = id;
    if (piece.type == PieceType::kNormal) {
      low = std::min(low, piece.score);
      high = std::max(high, piece.score);
    }
    // Pieces marked unused cannot be chosen.
    if (piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined) {
      pieces.push_back({.id = id,
                        .score = static_cast<double>(piece.score),
                        .user_defined = piece.type == PieceType::kUserDefined});
    }
  }
  options.min_score = static_cast<double>(low);
  options.max_score = static_cast<double>(high);
  return std::make_unique<Unigram>(std::move(vocab), pieces, options);
}

void name_special_tokens(const SentencePieceModel& model, TokenizerParts& parts) {
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const Piece& piece = model.pieces[i];
    if (piece.type != PieceType::kControl && piece.type != PieceType::kUnknown) continue;
    parts.added_tokens.add({.id = static_cast<TokenId>(i),
                            .content = piece.text,
                            .normalized = false,
                            .special = true},
                           parts.model->vocab());
    if (piece.type == PieceType::kUnknown) parts.unk = static_cast<TokenId>(i);
  }
  const auto control = [&](const std::string& text) {
    const std::optional<TokenId> id = parts.model->vocab().find(text);
    const bool found =
        id && model.pieces[static_cast<std::size_t>(*id)].type == PieceType::kControl;
    return found ? id : std::nullopt;
  };
  parts.bos = control(model.bos_piece);
  parts.eos = control(model.eos_piece);
  parts.pad = control(model.pad_piece);
}

}  // namespace

std::unique_ptr<TokenizerParts> read_sentencepiece(std::string_view bytes,
                                                   const std::string& source,
                                                   const TokenizerConfig& config) {
  SentencePieceModel model = parse_sentencepiece_model(bytes, source);
  model.add_dummy_prefix = model.add_dummy_prefix && config.add_prefix_space.value_or(true);
  auto parts = std::make_unique<TokenizerParts>();
  parts->decoder = make_sentencepiece_decoder({.strip_one_space = model.add_dummy_prefix,
                                               .strip_all_spaces = model.remove_extra_whitespaces});
  if (model.add_dummy_prefix && !model.whitespace_as_suffix && !config.legacy.value_or(true)) {
    model.add_dummy_prefix = false;
    parts->pre_tokenizer = make_first_space_pre_tokenizer();
  }
  parts->normalizer = std::make_unique<SentencePieceNormalizer>(model, source);
  Vocab vocab = make_vocab(model, source);
  if (model.algorithm == SentencePieceModel::Algorithm::kUnigram) {
    parts->model = make_unigram(std::move(vocab), model);
  } else {
    parts->model = std::make_unique<SentencePieceBpe>(std::move(vocab), model);
  }
  name_special_tokens(model, *parts);
  // Every family in use that publishes only a tokenizer.model begins its texts with <s>.
  parts->frame = make_frame(*parts, true, false);
  return parts;
}

}  // namespace spate
