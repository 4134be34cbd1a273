// How likely a text is: log-probabilities of its tokens, nothing generated.
#include <cmath>
#include <cstdio>

#include "spate/engine.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: score MODEL_FOLDER\n"), 2;
  auto engine = spate::Engine::create({.model = argv[1]});
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message.c_str()), 1;

  for (const char* text : {"The sun is in the sky.", "The sky the in is sun."}) {
    auto result = (*engine)->complete({.prompt = *(*engine)->tokenize(text),
                                       .sampling = {.max_tokens = 0, .prompt_logprobs = 0}});
    if (!result) return std::fprintf(stderr, "%s\n", result.error().message.c_str()), 1;
    double sum = 0.0;
    for (const auto& token : result->prompt_logprobs) sum += token ? token->chosen : 0.0F;
    std::printf("%-26s log-probability %.2f\n", text, sum);
  }
}
