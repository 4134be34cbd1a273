#include "tokenizer/tokenizer_document.h"

#include <cstddef>

#include <fmt/format.h>

#include "core/load_error.h"

namespace spate {
namespace {

constexpr std::size_t kMaxDepth = 64;

/// Receives the parser's events (nlohmann's SAX interface); false stops the parser.
class Reader {
 public:
  Reader(TokenizerDocument& document, std::string source, std::size_t file_size)
      : document_(document),
        source_(std::move(source)),
        size_hint_(static_cast<std::int64_t>(file_size)) {}

  bool null() { return value(nullptr); }
  bool boolean(bool v) { return value(v); }
  bool number_integer(Json::number_integer_t v) { return number(v, static_cast<double>(v)); }
  bool number_unsigned(Json::number_unsigned_t v) {
    if (v > static_cast<Json::number_unsigned_t>(INT64_MAX)) refuse("a number is out of range");
    return number(static_cast<Json::number_integer_t>(v), static_cast<double>(v));
  }
  bool number_float(Json::number_float_t v, const Json::string_t&) {
    if (table_ == Table::kScores && depth() == kRow) return score(v);
    if (table_ != Table::kNone) refuse("an integer is expected");
    return value(v);
  }
  bool string(Json::string_t& v) {
    if (table_ == Table::kNone) return value(std::move(v));
    return table_string(v);
  }
  bool binary(Json::binary_t&) { return false; }

  bool start_object(std::size_t) {
    if (table_ == Table::kVocabKey) {
      enter(Table::kVocab);
    } else if (table_ != Table::kNone) {
      refuse("an object where none belongs");
    } else {
      open(Json::object());
    }
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t) {
    switch (table_) {
      case Table::kNone:
        open(Json::array());
        return true;
      case Table::kVocabKey:
        enter(Table::kScores);
        return true;
      case Table::kMergesKey:
        enter(Table::kMerges);
        return true;
      case Table::kVocab:
        refuse("a list where an id belongs");
      default:
        break;
    }
    if (depth() != kTable) refuse("a list nested too deeply");
    row_.clear();
    ++table_depth_;
    return true;
  }
  bool end_array() {
    if (table_ == Table::kNone || depth() == kTable) return close();
    --table_depth_;
    end_row();
    return true;
  }
  bool key(Json::string_t& name) {
    key_ = std::move(name);
    const bool in_model = table_ == Table::kNone && stack_.size() == 2 && top_key_ == "model";
    if (stack_.size() == 1 && table_ == Table::kNone) top_key_ = key_;
    if (in_model && key_ == "vocab") table_ = Table::kVocabKey;
    if (in_model && key_ == "merges") table_ = Table::kMergesKey;
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&, const Json::exception& error) {
    throw LoadError(ErrorCode::kCorrupt,
                    fmt::format("{}: not valid JSON at byte {}: {}", source_, byte, error.what()));
  }

 private:
  enum class Table : std::uint8_t { kNone, kVocabKey, kMergesKey, kVocab, kScores, kMerges };
  static constexpr int kTable = 1, kRow = 2;
  int depth() const { return table_depth_; }

  [[noreturn]] void refuse(std::string_view what) const {
    const bool merges = table_ == Table::kMerges || table_ == Table::kMergesKey;
    const std::string where =
        table_ == Table::kNone ? key_
                               : fmt::format("model/{}/{}", merges ? "merges" : "vocab", entries());
    throw LoadError(ErrorCode::kCorrupt, fmt::format("{}: {}: {}", source_, where, what));
  }
  std::size_t entries() const {
    return table_ == Table::kMerges ? document_.merges.size()
                                    : static_cast<std::size_t>(document_.vocab.size());
  }

  void enter(Table table) {
    table_ = table;
    table_depth_ = kTable;
    if (table == Table::kMerges) {
      document_.merges.clear();
    } else {
      document_.vocab = {};
      document_.vocab.reserve(size_hint_ / 64, size_hint_ / 8);
      document_.scores.clear();
      document_.has_vocab = true;
    }
  }

  Json* place(Json&& json) {
    if (stack_.empty()) {
      document_.root = std::move(json);
      return &document_.root;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(json));
      return &parent.back();
    }
    return &(parent[key_] = std::move(json));
  }
  void open(Json&& json) {
    if (stack_.size() >= kMaxDepth) refuse("nested too deeply");
    stack_.push_back(place(std::move(json)));
  }
  bool close() {
    if (table_ != Table::kNone) {
      table_ = Table::kNone;
      table_depth_ = 0;
    } else {
      stack_.pop_back();
    }
    return true;
  }
  bool value(Json&& json) {
    const bool absent =
        json.is_null() && (table_ == Table::kVocabKey || table_ == Table::kMergesKey);
    if (absent) {
      table_ = Table::kNone;
      return true;
    }
    if (table_ != Table::kNone) refuse("a value of the wrong type");
    place(std::move(json));
    return true;
  }

  bool number(std::int64_t integer, double real) {
    if (table_ == Table::kNone) return value(integer);
    if (table_ == Table::kScores && depth() == kRow) return score(real);
    if (table_ != Table::kVocab) refuse("a number where a string belongs");
    if (!document_.vocab.add(key_, integer)) {
      refuse(fmt::format("'{}' has id {}, which is not in [0, {})", key_, integer, Vocab::kMaxIds));
    }
    return true;
  }
  bool score(double v) {
    if (row_.size() != 1 || has_score_) refuse("[token, score] is expected");
    score_ = v;
    has_score_ = true;
    return true;
  }
  bool table_string(Json::string_t& text) {
    if (table_ == Table::kMerges && depth() == kTable) {
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        refuse(fmt::format("'{}' is not two tokens and a space", text));
      }
      document_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
      return true;
    }
    if (depth() != kRow || row_.size() >= 2) refuse("a string where none belongs");
    row_.push_back(std::move(text));
    return true;
  }
  void end_row() {
    if (table_ == Table::kMerges) {
      if (row_.size() != 2) refuse("[left, right] is expected");
      document_.merges.emplace_back(std::move(row_[0]), std::move(row_[1]));
    } else {
      if (row_.size() != 1 || !has_score_) refuse("[token, score] is expected");
      const auto id = static_cast<std::int64_t>(document_.scores.size());
      if (!document_.vocab.add(row_[0], id)) refuse("too many tokens");
      document_.scores.push_back(score_);
    }
    has_score_ = false;
    row_.clear();
  }

  TokenizerDocument& document_;
  std::string source_;
  std::int64_t size_hint_;
  std::vector<Json*> stack_{};  // open containers of root
  std::string key_{}, top_key_{};
  Table table_ = Table::kNone;
  int table_depth_ = 0;
  std::vector<std::string> row_{};
  double score_ = 0;
  bool has_score_ = false;
};

}  // namespace

TokenizerDocument read_tokenizer_document(std::string_view text, const std::string& source) {
  TokenizerDocument document;
  // A merge takes 25 to 60 bytes of the file; this saves the copies of growing.
  document.merges.reserve(text.size() / 64);
  Reader reader(document, source, text.size());
  Json::sax_parse(text, &reader);
  if (!document.root.is_object()) {
    throw LoadError(ErrorCode::kCorrupt, fmt::format("{}: not a JSON object", source));
  }
  return document;
}

}  // namespace spate
