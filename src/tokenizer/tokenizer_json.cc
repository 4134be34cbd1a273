#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/bpe.h"
#include "tokenizer/json_node.h"
#include "tokenizer/readers.h"
#include "tokenizer/tokenizer_document.h"
#include "tokenizer/unigram.h"
#include "tokenizer/word_models.h"

namespace spate {
namespace {

std::unique_ptr<Model> make_bpe(const JsonNode& node, TokenizerDocument& document) {
  if (const auto dropout = node.find("dropout");
      dropout && !(dropout->json().is_number() && dropout->json().get<double>() == 0)) {
    dropout->refuse(ErrorCode::kUnsupported, "BPE dropout makes encoding random; set it to null");
  }
  BpeOptions options;
  if (const auto unk = node.find("unk_token")) options.unk_token = unk->text();
  options.continuing_subword_prefix = node.text("continuing_subword_prefix", "");
  options.end_of_word_suffix = node.text("end_of_word_suffix", "");
  options.fuse_unk = node.flag("fuse_unk", false);
  options.byte_fallback = node.flag("byte_fallback", false);
  options.ignore_merges = node.flag("ignore_merges", false);
  return std::make_unique<Bpe>(std::move(document.vocab), document.merges, std::move(options),
                               node.where());
}

std::unique_ptr<Model> make_unigram(const JsonNode& node, TokenizerDocument& document) {
  const auto count = static_cast<std::int64_t>(document.scores.size());
  if (count == 0) node.refuse(ErrorCode::kCorrupt, "the vocabulary has no [token, score] pairs");
  UnigramOptions options;
  options.byte_fallback = node.flag("byte_fallback", false);
  const std::int64_t unk = node.integer("unk_id", -1);
  if (unk >= count) {
    node.refuse(ErrorCode::kCorrupt, fmt::format("unk_id is {}, there are {} tokens", unk, count));
  }
  if (unk >= 0) options.unk_id = static_cast<TokenId>(unk);
  std::vector<UnigramPiece> pieces;
  pieces.reserve(document.scores.size());
  for (std::size_t i = 0; i < document.scores.size(); ++i) {
    pieces.push_back({.id = static_cast<TokenId>(i), .score = document.scores[i]});
  }
  options.min_score = *std::min_element(document.scores.begin(), document.scores.end());
  return std::make_unique<Unigram>(std::move(document.vocab), pieces, options);
}

std::unique_ptr<Model> make_model(const JsonNode& node, TokenizerDocument& document) {
  std::string type = node.text("type", "");
  if (!document.has_vocab) node.refuse(ErrorCode::kCorrupt, "\"vocab\" is missing");
  if (type.empty()) {
    // Files from before "type" was written.
    type = !document.scores.empty() ? "Unigram" : document.merges.empty() ? "WordPiece" : "BPE";
  }
  if (type == "Unigram") return make_unigram(node, document);
  if (!document.scores.empty()) {
    node.refuse(ErrorCode::kCorrupt, fmt::format("a {} vocabulary has no scores", type));
  }
  if (type == "BPE") return make_bpe(node, document);
  if (type == "WordPiece") {
    return std::make_unique<WordPiece>(
        std::move(document.vocab),
        WordPiece::Options{.unk_token = node.text("unk_token", "[UNK]"),
                           .prefix = node.text("continuing_subword_prefix", "##"),
                           .max_characters = node.integer("max_input_chars_per_word", 100)});
  }
  if (type == "WordLevel") {
    return std::make_unique<WordLevel>(std::move(document.vocab), node.text("unk_token", "<unk>"));
  }
  node.refuse(ErrorCode::kUnsupported, fmt::format("unknown model '{}'", type));
}

void read_added_tokens(const JsonNode& root, TokenizerParts& parts) {
  const auto list = root.find("added_tokens");
  if (!list) return;
  for (const JsonNode& item : list->items()) {
    const std::int64_t id = item.at("id").integer();
    AddedToken token;
    token.id = id < 0 || id >= Vocab::kMaxIds ? -1 : static_cast<TokenId>(id);
    token.content = item.text("content");
    token.single_word = item.flag("single_word", false);
    token.lstrip = item.flag("lstrip", false);
    token.rstrip = item.flag("rstrip", false);
    token.normalized = item.flag("normalized", true);
    token.special = item.flag("special", false);
    if (!parts.added_tokens.add(std::move(token), parts.model->vocab())) {
      item.refuse(ErrorCode::kCorrupt, fmt::format("id {} is not in [0, {})", id, Vocab::kMaxIds));
    }
  }
}

}  // namespace

std::unique_ptr<TokenizerParts> read_tokenizer_json(std::string_view text,
                                                    const std::string& source) {
  TokenizerDocument document = read_tokenizer_document(text, source);
  const JsonNode root(document.root, source + ": ");
  auto parts = std::make_unique<TokenizerParts>();
  parts->model = make_model(root.at("model"), document);
  if (const auto node = root.find("normalizer")) parts->normalizer = make_normalizer(*node);
  if (const auto node = root.find("pre_tokenizer")) {
    parts->pre_tokenizer = make_pre_tokenizer(*node);
  }
  if (const auto node = root.find("post_processor")) parts->frame = parse_post_processor(*node);
  const auto decoder = root.find("decoder");
  parts->decoder = decoder ? make_decoder(*decoder) : make_joining_decoder();
  read_added_tokens(root, *parts);
  return parts;
}

}  // namespace spate
