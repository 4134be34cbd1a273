// Any bytes as a line of a batch or score job: an error or a request; each has its output line.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/check.h"
#include "offline/batch_line.h"
#include "offline/score_line.h"
#include "spate/engine.h"

namespace spate {
namespace {

std::unique_ptr<Engine> open_model() {
  EngineOptions options{.model = "models/stories-12m", .threads = 1};
  options.kv_memory = std::int64_t{64} << 20;
  Result<std::unique_ptr<Engine>> engine = Engine::create(options);
  SPATE_CHECK(engine.has_value());
  return std::move(*engine);
}

void check_output(std::string_view line) {
  SPATE_CHECK(line.find('\n') == std::string_view::npos);
  SPATE_CHECK(parse_json(line, "output").has_value());
}

void fuzz(std::string_view text) {
  // Loaded once: parsing reads the tokenizer, the chat template and sizes, and changes nothing.
  static const std::unique_ptr<Engine> engine = open_model();
  const Result<BatchLine> line = parse_batch_line(*engine, text, 7, engine->default_sampling());
  if (line) {
    RequestResult result;
    result.completions.resize(1);
    check_output(batch_result_line(*engine, *line, result));
  } else {
    check_output(batch_error_line(text, 7, line.error()));
  }
  const Result<ScoreLine> score = parse_score_line(*engine, text, 7, 2);
  if (!score) return;
  for (const ScoreLine::Sequence& s : score->sequences) {
    SPATE_CHECK_OP(s.first_scored, >=, 1);
    SPATE_CHECK(!score_request(*score, s).prompt.empty());
  }
}

}  // namespace
}  // namespace spate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  spate::fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
