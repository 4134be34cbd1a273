#include "apps/stream.h"

#include <cstdio>
#include <optional>
#include <utility>

namespace spate::apps {

Result<RequestResult> stream_to_stdout(Engine& engine, Request request,
                                       const Interrupt& interrupt) {
  std::optional<RequestResult> result;
  request.on_token = [](const TokenEvent& event) {
    if (event.index != 0) return;
    std::fwrite(event.text.data(), 1, event.text.size(), stdout);
    std::fflush(stdout);
  };
  request.on_done = [&result](RequestResult r) { result = std::move(r); };
  const Result<RequestId> id = engine.submit(std::move(request));
  if (!id) return id.error();
  while (!result) {
    if (interrupt.seen() || std::ferror(stdout) != 0) engine.cancel(*id);
    engine.step();
  }
  return std::move(*result);
}

}  // namespace spate::apps
