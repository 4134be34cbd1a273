// Many requests at once: the engine batches them, results come as they finish.
#include <cstdio>
#include <string>

#include "spate/engine.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: batch MODEL_FOLDER\n"), 2;
  auto engine = spate::Engine::create({.model = argv[1]});
  if (!engine) return std::fprintf(stderr, "%s\n", engine.error().message.c_str()), 1;

  for (const std::string name : {"Tom", "Anna", "the cat", "the king"}) {
    spate::Request request{.prompt = *(*engine)->tokenize("One day, " + name),
                           .sampling = {.max_tokens = 24, .temperature = 0.0F}};
    request.on_done = [name](const spate::RequestResult& result) {
      std::printf("%s: %s\n", name.c_str(), result.completions.front().text.c_str());
    };
    auto id = (*engine)->submit(std::move(request));
    if (!id) return std::fprintf(stderr, "%s\n", id.error().message.c_str()), 1;
  }
  (*engine)->run_until_idle();
}
