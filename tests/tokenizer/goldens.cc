#include "tests/tokenizer/goldens.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace spate::test {

std::string golden_path(const std::string& name) { return "tests/tokenizer/data/" + name; }

Json read_golden(const std::string& name) {
  Result<Json> json = read_json(golden_path(name));
  if (!json) {
    std::fprintf(stderr, "%s\n", json.error().message.c_str());
    std::abort();
  }
  return std::move(*json);
}

std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  for (const std::string hex : read_golden("texts.json")) {
    std::string& text = texts.emplace_back();
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      text.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
  }
  return texts;
}

std::string shared_tokenizers() {
  const std::string path = "../shared/data/tokenizers";
  return std::filesystem::exists(path) ? path : "";
}

std::vector<std::pair<std::size_t, Json>> indexed(const Json& object) {
  std::vector<std::pair<std::size_t, Json>> pairs;
  for (const auto& [key, value] : object.items()) pairs.emplace_back(std::stoul(key), value);
  return pairs;
}

}  // namespace spate::test
