#include "offline/batch_line.h"

#include <fmt/format.h>

#include "offline/json_fields.h"
#include "offline/openai.h"
#include "sample/params.h"

namespace spate {
namespace {

/// Jinja would walk through the letters of a string without complaint: shapes are checked here.
Result<void> check_messages(const Json& messages) {
  if (!messages.is_array() || messages.empty()) {
    return wrong_type("messages", messages, "an array of one or more messages");
  }
  for (const Json& m : messages) {
    if (!m.is_object()) return wrong_type("messages", m, "an object with \"role\" and \"content\"");
    const Json role = m.value("role", Json());
    if (!role.is_string()) return wrong_type("role", role, "a string, as \"user\"");
  }
  return {};
}

/// From the text again: templates print tools and arguments in the order of their keys.
Result<std::vector<TokenId>> tokenize_messages(const Engine& engine, std::string_view text) {
  const Result<OrderedJson> line = parse_ordered_json(text, "the line");
  if (!line) return line.error();
  return engine.tokenize_chat_json(line->value("body", *line).dump());
}

/// Prompt fields of Spate's own dialect and of both OpenAI bodies; exactly one must be there.
Result<std::vector<TokenId>> prompt_of(const Engine& engine, const Json& fields,
                                       std::string_view text) {
  const int given = static_cast<int>(fields.contains("prompt")) +
                    static_cast<int>(fields.contains("prompt_token_ids")) +
                    static_cast<int>(fields.contains("messages"));
  if (given != 1) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("give exactly one of \"prompt\", \"prompt_token_ids\" and "
                             "\"messages\"; found {}",
                             given)};
  }
  if (fields.contains("messages")) {
    const Result<void> shaped = check_messages(fields.at("messages"));
    if (!shaped) return shaped.error();
    return tokenize_messages(engine, text);
  }
  if (fields.contains("prompt_token_ids")) {
    return token_ids_of(fields.at("prompt_token_ids"), "prompt_token_ids",
                        engine.info().vocab_size);
  }
  const Json& prompt = fields.at("prompt");
  if (prompt.is_string()) return engine.tokenize(prompt.get_ref<const std::string&>());
  if (prompt.is_array()) return token_ids_of(prompt, "prompt", engine.info().vocab_size);
  return wrong_type("prompt", prompt, "a string");
}

/// [null, logprob, ...]: one per prompt token, the first of which has no predecessor.
void add_prompt_logprobs(const BatchLine& line, const RequestResult& result, Json& out) {
  out["prompt_token_ids"] = line.prompt;
  out["prompt_logprobs"] = Json::array();
  out["prompt_top_logprobs"] = Json::array();
  for (const std::optional<TokenLogprobs>& l : result.prompt_logprobs) {
    out["prompt_logprobs"].push_back(l ? Json(l->chosen) : Json());
    out["prompt_top_logprobs"].push_back(l ? alternatives_json(*l) : Json());
  }
}

Json own_completion(const Completion& c, bool wants_logprobs) {
  Json out = {
      {"text", c.text}, {"token_ids", c.token_ids}, {"finish_reason", name_of(c.finish_reason)}};
  if (!wants_logprobs) return out;
  out["logprobs"] = Json::array();
  out["top_logprobs"] = Json::array();
  for (const TokenLogprobs& l : c.logprobs) {
    out["logprobs"].push_back(l.chosen);
    out["top_logprobs"].push_back(alternatives_json(l));
  }
  return out;
}

Json own_result(const BatchLine& line, const RequestResult& result) {
  Json out = {{"id", line.id}};
  out.update(own_completion(result.completions.front(), line.wants_logprobs));
  out["prompt_tokens"] = result.prompt_tokens;
  out["completion_tokens"] = result.completion_tokens;
  if (line.wants_prompt_logprobs) add_prompt_logprobs(line, result, out);
  if (result.completions.size() > 1) {
    for (const Completion& c : result.completions) {
      Json one = own_completion(c, line.wants_logprobs);
      one["index"] = c.index;
      out["completions"].push_back(std::move(one));
    }
  }
  return out;
}

/// Splits a line into its envelope (dialect, id) and the fields of the request.
Result<Json> open_envelope(const Json& json, BatchLine& line) {
  if (!json.contains("body") && !json.contains("custom_id")) return json;
  for (const char* key : {"custom_id", "url", "body"}) {
    if (!json.contains(key)) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("\"{}\" is missing: lines with \"custom_id\" or \"body\" are read "
                               "as OpenAI Batch lines",
                               key)};
    }
  }
  const Json& url = json.at("url");
  if (url == "/v1/chat/completions") {
    line.dialect = BatchLine::Dialect::kOpenAiChat;
  } else if (url == "/v1/completions") {
    line.dialect = BatchLine::Dialect::kOpenAiCompletion;
  } else {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("\"url\": {}: use \"/v1/chat/completions\" or \"/v1/completions\"",
                             url.dump())};
  }
  if (!json.at("body").is_object()) return wrong_type("body", json.at("body"), "an object");
  const Json& body = json.at("body");
  if (body.contains("model")) {
    if (!body.at("model").is_string()) return wrong_type("model", body.at("model"), "a string");
    line.model = body.at("model").get<std::string>();
  }
  return body;
}

Json id_of(const Json& json, std::int64_t number) {
  if (json.is_object()) {
    for (const char* key : {"custom_id", "id"}) {
      if (json.contains(key)) return json.at(key);
    }
  }
  return number;
}

}  // namespace

Json batch_line_id(std::string_view line, std::int64_t number) {
  return id_of(Json::parse(line, nullptr, false), number);
}

Result<BatchLine> parse_batch_line(const Engine& engine, std::string_view text, std::int64_t number,
                                   const SamplingParams& defaults) {
  const Result<Json> json = parse_json(text, fmt::format("line {}", number + 1));
  if (!json) return json.error();
  if (!json->is_object()) return wrong_type("the line", *json, "a JSON object");
  BatchLine line{.id = id_of(*json, number)};
  const Result<Json> fields = open_envelope(*json, line);
  if (!fields) return fields.error();
  Result<ParsedSampling> sampling = sampling_from_json(*fields, defaults);
  if (!sampling) return sampling.error();
  Result<std::vector<TokenId>> prompt = prompt_of(engine, *fields, text);
  if (!prompt) return prompt.error();
  line.request.prompt = std::move(*prompt);
  line.request.sampling = std::move(sampling->params);
  line.wants_logprobs = line.request.sampling.logprobs.has_value();
  line.wants_prompt_logprobs = line.request.sampling.prompt_logprobs.has_value();
  if (line.wants_prompt_logprobs) line.prompt = line.request.prompt;
  if (fields->contains("priority") && fields->at("priority").is_number_integer()) {
    line.request.priority = fields->at("priority").get<std::int64_t>();
  }
  return line;
}

std::string batch_result_line(const Engine& engine, const BatchLine& line,
                              const RequestResult& result) {
  for (const Completion& c : result.completions) {
    if (c.error)
      return batch_error_json(line.dialect != BatchLine::Dialect::kOwn, line.id, *c.error);
  }
  switch (line.dialect) {
    case BatchLine::Dialect::kOwn:
      return dump_line(own_result(line, result));
    case BatchLine::Dialect::kOpenAiChat:
      return dump_line(openai_envelope(line.id, result.id,
                                       openai_chat(engine, line.model, line.prompt, result)));
    case BatchLine::Dialect::kOpenAiCompletion:
      break;
  }
  return dump_line(openai_envelope(line.id, result.id,
                                   openai_completion(engine, line.model, line.prompt, result)));
}

std::string batch_error_line(std::string_view input_line, std::int64_t number, const Error& error) {
  const Json json = Json::parse(input_line, nullptr, false);
  const bool openai = json.is_object() && (json.contains("custom_id") || json.contains("body"));
  return batch_error_json(openai, batch_line_id(input_line, number), error);
}

}  // namespace spate
