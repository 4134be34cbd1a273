// One prompt, one completion.
#include <cstdio>

#include "spate/engine.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: complete MODEL_FOLDER\n"), 2;
  auto engine = spate::Engine::create({.model = argv[1]});
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message.c_str()), 1;

  auto prompt = (*engine)->tokenize("Once upon a time, there was a little");
  if (!prompt) return std::fprintf(stderr, "%s\n", prompt.error().message.c_str()), 1;
  auto result =
      (*engine)->complete({.prompt = *prompt, .sampling = {.max_tokens = 40, .temperature = 0.0F}});
  if (!result) return std::fprintf(stderr, "%s\n", result.error().message.c_str()), 1;

  std::printf("%s\n", result->completions.front().text.c_str());
}
