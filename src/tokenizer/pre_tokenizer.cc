#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/regex.h"
#include "tokenizer/utf8.h"

namespace spate {
namespace {

constexpr std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

enum class Behavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

Behavior parse_behavior(const JsonNode& node) {
  const std::string name = node.text();
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  node.refuse(ErrorCode::kUnsupported, fmt::format("unknown behavior '{}'", name));
}

/// A run of the text that matched, or one between matches.
struct Run {
  TextSpan span{};
  bool match = false;
};

/// Matches and the gaps between them; together they cover the text.
void cover(std::size_t size, const std::vector<TextSpan>& matches, bool invert,
           std::vector<Run>& runs) {
  runs.clear();
  std::size_t done = 0;
  for (const TextSpan& match : matches) {
    if (done != match.begin) runs.push_back({{done, match.begin}, invert});
    runs.push_back({match, !invert});
    done = match.end;
  }
  if (done != size) runs.push_back({{done, size}, invert});
}

void emit(const Segment& from, TextSpan span, std::vector<Segment>& out) {
  if (span.begin == span.end) return;
  out.push_back(
      {from.text.substr(span.begin, span.end - span.begin), from.at_start && span.begin == 0});
}

/// Joins runs by `behavior`. MergedWithNext is MergedWithPrevious seen from the end.
void join_runs(const Segment& segment, std::vector<Run>& runs, Behavior behavior,
               std::vector<Segment>& out) {
  if (behavior == Behavior::kIsolated || behavior == Behavior::kRemoved) {
    for (const Run& run : runs) {
      if (behavior == Behavior::kIsolated || !run.match) emit(segment, run.span, out);
    }
    return;
  }
  const bool backwards = behavior == Behavior::kMergedWithNext;
  if (backwards) std::reverse(runs.begin(), runs.end());
  std::vector<TextSpan> joined;
  bool previous = false;
  for (const Run& run : runs) {
    const bool join =
        behavior == Behavior::kContiguous ? run.match == previous : run.match && !previous;
    previous = run.match;
    if (!join || joined.empty()) {
      joined.push_back(run.span);
    } else if (backwards) {
      joined.back().begin = run.span.begin;
    } else {
      joined.back().end = run.span.end;
    }
  }
  if (backwards) std::reverse(joined.begin(), joined.end());
  for (const TextSpan& span : joined) emit(segment, span, out);
}

class PatternSplit final : public PreTokenizer {
 public:
  PatternSplit(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void apply(Segments& segments) const override {
    Pattern::Search search(pattern_);
    std::vector<TextSpan> matches;
    std::vector<Run> runs;
    segments.split([&](const Segment& segment, std::vector<Segment>& out) {
      search.find_all(segment.text, matches);
      cover(segment.text.size(), matches, invert_, runs);
      join_runs(segment, runs, behavior_, out);
    });
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Cuts at the characters of a class.
class CharacterSplit final : public PreTokenizer {
 public:
  using Class = bool (*)(char32_t);
  CharacterSplit(Class in_class, Behavior behavior) : in_class_(in_class), behavior_(behavior) {}

  void apply(Segments& segments) const override {
    std::vector<TextSpan> matches;
    std::vector<Run> runs;
    segments.split([&](const Segment& segment, std::vector<Segment>& out) {
      matches.clear();
      for (std::size_t at = 0, length = 0; at < segment.text.size(); at += length) {
        if (in_class_(utf8_decode(segment.text, at, length))) matches.push_back({at, at + length});
      }
      cover(segment.text.size(), matches, false, runs);
      join_runs(segment, runs, behavior_, out);
    });
  }

 private:
  Class in_class_;
  Behavior behavior_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
    if (use_regex) {
      split_.emplace(Pattern::regex(kGpt2Expression, "ByteLevel"), Behavior::kIsolated, false);
    }
  }

  void apply(Segments& segments) const override {
    if (add_prefix_space_) {
      segments.rewrite([](const Segment& segment, std::string& out) {
        if (segment.text.front() != ' ') out.push_back(' ');
        out.append(segment.text);
      });
    }
    if (split_) split_->apply(segments);
    segments.rewrite(
        [](const Segment& segment, std::string& out) { kByteAlphabet.append(out, segment.text); });
  }

 private:
  bool add_prefix_space_;
  std::optional<PatternSplit> split_{};
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend : std::uint8_t { kAlways, kFirst, kNever };
  Metaspace(std::string replacement, Prepend prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend) {
    if (split) split_.emplace(Pattern::literal(replacement_), Behavior::kMergedWithNext, false);
  }

  void apply(Segments& segments) const override {
    segments.rewrite([&](const Segment& segment, std::string& out) {
      const bool here =
          prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && segment.at_start);
      const bool has = segment.text.front() == ' ' || segment.text.starts_with(replacement_);
      if (here && !has) out += replacement_;
      append_replaced(segment.text, out);
    });
    if (split_) split_->apply(segments);
  }

 private:
  void append_replaced(std::string_view text, std::string& out) const {
    for (const char c : text) {
      if (c == ' ') {
        out += replacement_;
      } else {
        out.push_back(c);
      }
    }
  }

  std::string replacement_;
  Prepend prepend_;
  std::optional<PatternSplit> split_{};
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps)
      : steps_(std::move(steps)) {}
  void apply(Segments& segments) const override {
    for (const auto& step : steps_) step->apply(segments);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

std::unique_ptr<PreTokenizer> make_metaspace(const JsonNode& node) {
  const std::string scheme = node.text("prepend_scheme", "always");
  auto prepend = Metaspace::Prepend::kAlways;
  if (scheme == "first") {
    prepend = Metaspace::Prepend::kFirst;
  } else if (scheme == "never" || !node.flag("add_prefix_space", true)) {
    prepend = Metaspace::Prepend::kNever;
  } else if (scheme != "always") {
    node.refuse(ErrorCode::kUnsupported, fmt::format("unknown prepend_scheme '{}'", scheme));
  }
  return std::make_unique<Metaspace>(node.character("replacement"), prepend,
                                     node.flag("split", true));
}

template <class... Steps>
std::unique_ptr<PreTokenizer> sequence(Steps... step) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  (steps.push_back(std::move(step)), ...);
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> split_at(CharacterSplit::Class in_class, Behavior behavior) {
  return std::make_unique<CharacterSplit>(in_class, behavior);
}

std::unique_ptr<PreTokenizer> pre_tokenizer_at(const JsonNode& node, int depth) {
  const std::string type = node.text("type");
  if (type == "Sequence") {
    node.limit_nesting(depth);
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    for (const JsonNode& item : node.at("pretokenizers").items()) {
      steps.push_back(pre_tokenizer_at(item, depth + 1));
    }
    return std::make_unique<PreTokenizerSequence>(std::move(steps));
  }
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(node.flag("add_prefix_space", true),
                                       node.flag("use_regex", true));
  }
  if (type == "Split") {
    return std::make_unique<PatternSplit>(Pattern::from_json(node.at("pattern")),
                                          parse_behavior(node.at("behavior")),
                                          node.flag("invert", false));
  }
  if (type == "Metaspace") return make_metaspace(node);
  if (type == "Whitespace") {
    // Rust's \w also has the two joiners of Join_Control.
    return std::make_unique<PatternSplit>(
        Pattern::regex(R"([\w\u200c\u200d]+|[^\w\s\u200c\u200d]+)", node.where()),
        Behavior::kRemoved, true);
  }
  if (type == "WhitespaceSplit") return split_at(is_white_space, Behavior::kRemoved);
  if (type == "Digits") {
    const bool single = node.flag("individual_digits", false);
    return split_at(is_numeric, single ? Behavior::kIsolated : Behavior::kContiguous);
  }
  if (type == "Punctuation") {
    const std::optional<JsonNode> behavior = node.find("behavior");
    return split_at(is_punctuation, behavior ? parse_behavior(*behavior) : Behavior::kIsolated);
  }
  if (type == "BertPreTokenizer") {
    return sequence(split_at(is_white_space, Behavior::kRemoved),
                    split_at(is_punctuation, Behavior::kIsolated));
  }
  if (type == "CharDelimiterSplit") {
    return std::make_unique<PatternSplit>(Pattern::literal(node.character("delimiter")),
                                          Behavior::kRemoved, false);
  }
  node.refuse(ErrorCode::kUnsupported, fmt::format("unknown pre-tokenizer '{}'", type));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonNode& node) {
  return pre_tokenizer_at(node, 0);
}

std::unique_ptr<PreTokenizer> make_first_space_pre_tokenizer() {
  return std::make_unique<Metaspace>(std::string(kMetaSpace), Metaspace::Prepend::kFirst, false);
}

std::unique_ptr<PreTokenizer> make_byte_level_pre_tokenizer(bool add_prefix_space) {
  return std::make_unique<ByteLevel>(add_prefix_space, true);
}

}  // namespace spate
