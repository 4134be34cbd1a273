// Results in the shapes of OpenAI's API (chat completions, completions, Batch output lines).
#pragma once

#include <span>
#include <string>

#include "core/json.h"
#include "spate/engine.h"
#include "spate/request.h"

namespace spate {

/// `prompt` where its log-probabilities are reported (vLLM's field "prompt_logprobs"), else empty.
Json openai_chat(const Engine& engine, const std::string& model, std::span<const TokenId> prompt,
                 const RequestResult& result);
Json openai_completion(const Engine& engine, const std::string& model,
                       std::span<const TokenId> prompt, const RequestResult& result);

/// A line of a Batch output file around a response's body.
Json openai_envelope(const Json& custom_id, RequestId id, Json body);

/// A whole output line for a request that failed, in either dialect.
std::string batch_error_json(bool openai, const Json& id, const Error& error);

}  // namespace spate
