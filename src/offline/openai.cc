#include "offline/openai.h"

#include <array>
#include <ctime>

#include <fmt/format.h>

#include "offline/json_fields.h"

namespace spate {
namespace {

std::string text_of(const Engine& engine, TokenId id) {
  return engine.detokenize(std::array<TokenId, 1>{id});
}

Json token_json(const Engine& engine, TokenId id, float logprob) {
  const std::string text = text_of(engine, id);
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", text}, {"logprob", logprob}, {"bytes", bytes}};
}

Json chat_logprobs(const Engine& engine, const Completion& c) {
  if (c.logprobs.empty()) return nullptr;
  Json content = Json::array();
  for (std::size_t i = 0; i < c.logprobs.size(); ++i) {
    Json token = token_json(engine, c.token_ids[i], c.logprobs[i].chosen);
    token["top_logprobs"] = Json::array();
    for (const auto& a : c.logprobs[i].top) {
      token["top_logprobs"].push_back(token_json(engine, a.id, a.logprob));
    }
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}};
}

Json completion_logprobs(const Engine& engine, const Completion& c) {
  if (c.logprobs.empty()) return nullptr;
  Json out = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  std::size_t offset = 0;
  for (std::size_t i = 0; i < c.logprobs.size(); ++i) {
    const std::string text = text_of(engine, c.token_ids[i]);
    out["tokens"].push_back(text);
    out["token_logprobs"].push_back(c.logprobs[i].chosen);
    Json top = Json::object();
    for (const auto& a : c.logprobs[i].top) top[text_of(engine, a.id)] = a.logprob;
    out["top_logprobs"].push_back(std::move(top));
    out["text_offset"].push_back(offset);
    offset += text.size();
  }
  return out;
}

/// [null, {"TOKEN ID": {"logprob", "decoded_token"}, ...}, ...]: the given token and alternatives.
Json prompt_logprobs(const Engine& engine, std::span<const TokenId> prompt,
                     const RequestResult& result) {
  Json out = Json::array();
  for (std::size_t i = 0; i < result.prompt_logprobs.size(); ++i) {
    const std::optional<TokenLogprobs>& l = result.prompt_logprobs[i];
    Json& tokens = out.emplace_back();
    if (!l) continue;
    const auto add = [&](TokenId id, float logprob) {
      tokens[std::to_string(id)] = {{"logprob", logprob}, {"decoded_token", text_of(engine, id)}};
    };
    for (const TokenLogprobs::Alternative& a : l->top) add(a.id, a.logprob);
    add(prompt[i], l->chosen);
  }
  return out;
}

Json body(std::string_view prefix, std::string_view object, const std::string& model,
          const RequestResult& result) {
  return {{"id", fmt::format("{}-{}", prefix, result.id)},
          {"object", object},
          {"created", static_cast<std::int64_t>(std::time(nullptr))},
          {"model", model},
          {"choices", Json::array()},
          {"usage",
           {{"prompt_tokens", result.prompt_tokens},
            {"completion_tokens", result.completion_tokens},
            {"total_tokens", result.prompt_tokens + result.completion_tokens}}}};
}

}  // namespace

Json openai_chat(const Engine& engine, const std::string& model, std::span<const TokenId> prompt,
                 const RequestResult& result) {
  Json out = body("chatcmpl", "chat.completion", model, result);
  for (const Completion& c : result.completions) {
    out["choices"].push_back({{"index", c.index},
                              {"message", {{"role", "assistant"}, {"content", c.text}}},
                              {"logprobs", chat_logprobs(engine, c)},
                              {"finish_reason", name_of(c.finish_reason)}});
  }
  if (!prompt.empty()) out["prompt_logprobs"] = prompt_logprobs(engine, prompt, result);
  return out;
}

Json openai_completion(const Engine& engine, const std::string& model,
                       std::span<const TokenId> prompt, const RequestResult& result) {
  Json out = body("cmpl", "text_completion", model, result);
  for (const Completion& c : result.completions) {
    out["choices"].push_back({{"index", c.index},
                              {"text", c.text},
                              {"logprobs", completion_logprobs(engine, c)},
                              {"finish_reason", name_of(c.finish_reason)}});
    if (!prompt.empty()) {
      out["choices"].back()["prompt_logprobs"] = prompt_logprobs(engine, prompt, result);
    }
  }
  return out;
}

Json openai_envelope(const Json& custom_id, RequestId id, Json response) {
  return {{"id", fmt::format("batch_req_{}", id)},
          {"custom_id", custom_id},
          {"response",
           {{"status_code", 200},
            {"request_id", fmt::format("req_{}", id)},
            {"body", std::move(response)}}},
          {"error", nullptr}};
}

std::string batch_error_json(bool openai, const Json& id, const Error& error) {
  if (!openai) return dump_line({{"id", id}, {"error", error.message}});
  constexpr int kBadRequest = 400;
  return dump_line(
      {{"id", nullptr},
       {"custom_id", id},
       {"response",
        {{"status_code", kBadRequest},
         {"request_id", nullptr},
         {"body", {{"error", {{"message", error.message}, {"type", "invalid_request_error"}}}}}}},
       {"error", {{"code", "invalid_request"}, {"message", error.message}}}});
}

}  // namespace spate
