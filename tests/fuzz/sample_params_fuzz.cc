// Any bytes as the JSON of a request and of a generation_config.json: an error or parameters, and
// parameters that validate() accepts must make a sampler that samples.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "sample/params.h"
#include "sample/sampler.h"
#include "sample/stop.h"

namespace spate {
namespace {

constexpr std::int64_t kVocab = 200;

void sample_with(const SamplingParams& params) {
  const std::vector<TokenId> eos{2};
  const auto sampler = Sampler::make(params, kVocab, eos);
  if (!sampler) return;
  std::vector<float> row;
  for (std::int64_t i = 0; i < kVocab; ++i) row.push_back(static_cast<float>(i * 37 % 101) * 0.1F);
  TokenHistory history(sampler->tracks_tokens());
  history.add_prompt(eos);
  SamplerScratch scratch;
  SampledToken token;
  for (int i = 0; i < 3; ++i) {
    if (!sampler->sample(row, history, {params.seed.value_or(0), 0}, &scratch, &token)) return;
    SPATE_CHECK_OP(token.id, >=, 0);
    SPATE_CHECK_OP(token.id, <, kVocab);
    history.add_output(token.id);
  }
  StopMatcher stop(params.stop, params.include_stop_str_in_output);
  stop.feed("some text");
  stop.finish();
}

void fuzz(std::string_view text) {
  const Result<Json> json = parse_json(text, "fuzz");
  if (!json) return;
  const Result<SamplingParams> defaults = generation_defaults(*json, {});
  const auto parsed = sampling_from_json(*json, defaults ? *defaults : SamplingParams{});
  if (parsed) sample_with(parsed->params);
}

}  // namespace
}  // namespace spate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  spate::fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
