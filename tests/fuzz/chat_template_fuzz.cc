// Fuzzes the template interpreter: bytes up to a NUL are the template, the rest, if it is JSON, the
// messages. Limits are small, so that an input that is slow within them is a finding.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chat/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {  // NOLINT(readability-identifier-naming)
  const std::string_view input(reinterpret_cast<const char*>(data), size);  // NOLINT
  const std::size_t split = input.find('\0');
  const spate::Result<spate::ChatTemplate> parsed =
      spate::ChatTemplate::parse(std::string(input.substr(0, split)));
  if (!parsed) return 0;
  spate::ChatInput chat{
      .messages = spate::OrderedJson::parse(
          R"([{"role": "user", "content": "Hé 1"}, {"role": "assistant", "content": null, "x": [1, 2.5]}])"),
      .bos_token = "<s>",
      .extra = {{"s", "a b"}, {"n", 3}, {"xs", {3, 1, 2}}, {"d", {{"a", 1}, {"b", {{"c", "d"}}}}}}};
  if (split != std::string_view::npos) {
    auto messages = spate::parse_ordered_json(input.substr(split + 1), "fuzz");
    if (messages) chat.messages = *messages;
  }
  const spate::ChatLimits limits{.max_steps = 300'000,
                                 .max_output_bytes = 200'000,
                                 .max_value_bytes = 500'000,
                                 .max_heap_bytes = 20'000'000};
  static_cast<void>(parsed->render(chat, limits));
  return 0;
}
