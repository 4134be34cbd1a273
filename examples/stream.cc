// Tokens as they come, and a request that is cancelled half-way.
#include <cstdio>

#include "spate/engine.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: stream MODEL_FOLDER\n"), 2;
  auto engine = spate::Engine::create({.model = argv[1]});
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message.c_str()), 1;

  int tokens = 0;
  spate::Request request{.prompt = *(*engine)->tokenize("The dog ran to the"),
                         .sampling = {.max_tokens = 200, .temperature = 0.8F, .seed = 7}};
  request.on_token = [&](const spate::TokenEvent& event) {
    std::printf("%.*s", static_cast<int>(event.text.size()), event.text.data());
    std::fflush(stdout);
    if (++tokens == 30) (*engine)->cancel(event.id);
  };
  auto result = (*engine)->complete(std::move(request));
  if (!result) return std::fprintf(stderr, "%s\n", result.error().message.c_str()), 1;
  std::printf("\n[%s after %d tokens]\n",
              spate::name_of(result->completions.front().finish_reason).data(), tokens);
}
