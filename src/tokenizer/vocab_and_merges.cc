#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/json.h"
#include "core/load_error.h"
#include "tokenizer/bpe.h"
#include "tokenizer/json_node.h"
#include "tokenizer/readers.h"

namespace spate {
namespace {

std::string read_text(const std::string& path) {
  Result<std::string> text = read_file(path);
  if (!text) throw LoadError(text.error().code, text.error().message);
  return std::move(*text);
}

Vocab read_vocab(const std::string& path) {
  Result<Json> json = parse_json(read_text(path), path);
  if (!json) throw LoadError(json.error().code, json.error().message);
  Vocab vocab;
  for (const auto& [token, id] : JsonNode(*json, path).members()) {
    if (!vocab.add(token, id.integer())) {
      id.refuse(ErrorCode::kCorrupt,
                fmt::format("id {} is not in [0, {})", id.integer(), Vocab::kMaxIds));
    }
  }
  return vocab;
}

/// Lines of two tokens and a space; the first line may be a comment with the version.
std::vector<std::pair<std::string, std::string>> read_merges(const std::string& path) {
  const std::string text = read_text(path);
  std::vector<std::pair<std::string, std::string>> merges;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line(text.data() + at, end - at);
    at = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      throw LoadError(
          ErrorCode::kCorrupt,
          fmt::format("{}: line {}: '{}' is not two tokens and a space", path, number, line));
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

}  // namespace

std::unique_ptr<TokenizerParts> read_vocab_and_merges(const std::string& vocab_path,
                                                      const std::string& merges_path,
                                                      const TokenizerConfig& config) {
  auto parts = std::make_unique<TokenizerParts>();
  parts->model = std::make_unique<Bpe>(read_vocab(vocab_path), read_merges(merges_path),
                                       BpeOptions{}, merges_path);
  parts->pre_tokenizer = make_byte_level_pre_tokenizer(config.add_prefix_space.value_or(false));
  parts->decoder = make_byte_level_decoder();
  return parts;
}

}  // namespace spate
