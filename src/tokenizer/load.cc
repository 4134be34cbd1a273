#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "core/json.h"
#include "core/load_error.h"
#include "tokenizer/readers.h"
#include "tokenizer/tokenizer.h"

namespace spate {
namespace {

std::string read_text(const std::string& path) {
  Result<std::string> text = read_file(path);
  if (!text) throw LoadError(text.error().code, text.error().message);
  return std::move(*text);
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Classes of transformers whose bos and eos follow add_bos_token and add_eos_token and not the
/// post-processor in tokenizer.json (DeepSeek's, for one, has none there).
bool frame_follows_config(const std::string& tokenizer_class) {
  for (const std::string_view name : {"Llama", "CodeLlama", "Gemma", "Cohere"}) {
    if (tokenizer_class.starts_with(name)) return true;
  }
  return false;
}

std::unique_ptr<TokenizerParts> read_folder(const std::string& folder) {
  const TokenizerConfig config = read_tokenizer_config(folder);
  std::unique_ptr<TokenizerParts> parts;
  const std::string json = folder + "/tokenizer.json";
  const std::string model = folder + "/tokenizer.model";
  const std::string vocab = folder + "/vocab.json";
  const std::string merges = folder + "/merges.txt";
  const bool is_json = exists(json);
  if (is_json) {
    parts = read_tokenizer_json(read_text(json), json);
  } else if (exists(model)) {
    parts = read_sentencepiece(read_text(model), model, config);
  } else if (exists(vocab) && exists(merges)) {
    parts = read_vocab_and_merges(vocab, merges, config);
  } else {
    throw LoadError(ErrorCode::kNotFound,
                    fmt::format("{}: no tokenizer here; tokenizer.json, tokenizer.model, or "
                                "vocab.json with merges.txt is needed",
                                folder));
  }
  const bool default_bos = !is_json && parts->frame.before.size() == 1;
  apply_tokenizer_config(config, *parts);
  const bool told = config.add_bos || config.add_eos;
  if (is_json ? told && frame_follows_config(config.tokenizer_class) : true) {
    const bool bos_in_frame = is_json ? !parts->frame.before.empty() : default_bos;
    parts->frame =
        make_frame(*parts, config.add_bos.value_or(bos_in_frame), config.add_eos.value_or(false));
  }
  return parts;
}

std::unique_ptr<TokenizerParts> read_path(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return read_folder(path);
  const std::filesystem::path file(path);
  const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
  if (file.filename() == "tokenizer.json") return read_folder(folder);
  if (file.filename() == "vocab.json" && exists(folder + "/merges.txt")) {
    auto parts = read_vocab_and_merges(path, folder + "/merges.txt", read_tokenizer_config(folder));
    apply_tokenizer_config(read_tokenizer_config(folder), *parts);
    return parts;
  }
  if (file.extension() == ".json") return read_tokenizer_json(read_text(path), path);
  if (file.extension() == ".model") return read_sentencepiece(read_text(path), path, {});
  if (!exists(path)) throw LoadError(ErrorCode::kNotFound, fmt::format("{}: not found", path));
  throw LoadError(
      ErrorCode::kUnsupported,
      fmt::format("{}: not a tokenizer; a folder, a .json or a .model file is needed", path));
}

/// Runs a reader and turns what it throws into an Error.
template <class F>
Result<std::unique_ptr<Tokenizer>> build(F&& read) {
  try {
    std::unique_ptr<TokenizerParts> parts = read();
    parts->added_tokens.build(parts->normalizer.get());
    return std::make_unique<Tokenizer>(std::move(parts));
  } catch (const LoadError& error) {
    return error.error();
  }
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& path) {
  return build([&] { return read_path(path); });
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(std::string_view text,
                                                        std::string_view source) {
  return build([&] { return read_tokenizer_json(text, std::string(source)); });
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_sentencepiece(std::string_view bytes,
                                                                 std::string_view source) {
  return build([&] { return read_sentencepiece(bytes, std::string(source), {}); });
}

}  // namespace spate
