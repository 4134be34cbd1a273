// spate tokenize: text to token ids and back.

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/input.h"
#include "apps/options.h"
#include "offline/json_fields.h"
#include "offline/output_file.h"
#include "tokenizer/tokenizer.h"

namespace spate::apps {
namespace {

struct TokenizeCommand {
  std::string model;
  std::string text;
  std::string input;
  std::string output = "-";
};

Result<Json> convert(const Tokenizer& tokenizer, const Json& json) {
  if (json.contains("text") == json.contains("token_ids")) {
    return Error{ErrorCode::kInvalidArgument, "give exactly one of \"text\" and \"token_ids\""};
  }
  if (json.contains("text")) {
    if (!json.at("text").is_string()) return wrong_type("text", json.at("text"), "a string");
    const Json add = json.value("add_special_tokens", Json(true));
    if (!add.is_boolean()) return wrong_type("add_special_tokens", add, "true or false");
    return Json{{"token_ids", tokenizer.encode(json.at("text").get_ref<const std::string&>(),
                                               {.add_special_tokens = add.get<bool>()})}};
  }
  const Result<std::vector<TokenId>> ids =
      token_ids_of(json.at("token_ids"), "token_ids", tokenizer.vocab_size());
  if (!ids) return ids.error();
  const Json skip = json.value("skip_special_tokens", Json(false));
  if (!skip.is_boolean()) return wrong_type("skip_special_tokens", skip, "true or false");
  return Json{{"text", tokenizer.decode(*ids, {.skip_special_tokens = skip.get<bool>()})}};
}

std::string convert_line(const Tokenizer& tokenizer, std::string_view line, std::int64_t number) {
  const Result<Json> json = parse_json(line, fmt::format("line {}", number + 1));
  Json id = number;
  Result<Json> out = Json();
  if (!json) {
    out = json.error();
  } else if (!json->is_object()) {
    out = wrong_type("the line", *json, "a JSON object");
  } else {
    id = json->value("id", Json(number));
    out = convert(tokenizer, *json);
  }
  Json result = out ? *out : Json{{"error", out.error().message}};
  result["id"] = id;
  return dump_line(result);
}

int convert_file(const Tokenizer& tokenizer, const TokenizeCommand& o) {
  Result<Input> input = Input::open(o.input, o.output);
  if (!input) return fail(input.error());
  std::istream& in = input->stream();
  Result<OutputFile> output = OutputFile::replace(o.output);
  if (!output) return fail(output.error());
  std::string line;
  std::int64_t number = 0;
  while (std::getline(in, line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Result<void> written = output->append(convert_line(tokenizer, line, number++));
    if (!written) return fail(written.error());
  }
  return kDone;
}

void show(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<TokenId> ids = tokenizer.encode(text, {.add_special_tokens = true});
  for (const TokenId id : ids) {
    fmt::print("{:>8}  {}\n", id, dump_line(Json(std::string(tokenizer.id_to_token(id)))));
  }
  fmt::print("{} tokens\n", ids.size());
}

int tokenize(const TokenizeCommand& o) {
  if (o.input.empty() == o.text.empty()) {
    fmt::print(stderr, "spate: tokenize: give either a text or -i INPUT\n");
    return kWrongUsage;
  }
  const Result<std::string> path = resolve_model(o.model);
  if (!path) return fail(path.error());
  const Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::load(*path);
  if (!tokenizer) return fail(tokenizer.error());
  if (!o.input.empty()) return convert_file(**tokenizer, o);
  show(**tokenizer, o.text);
  return kDone;
}

}  // namespace

void add_tokenize(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand("tokenize", "text to token ids and back");
  auto o = std::make_shared<TokenizeCommand>();
  command->add_option("text", o->text, "show the tokens of this text");
  command->add_option("-m,--model", o->model, "a folder with tokenizer files, or a model");
  command->add_option("-i,--input", o->input, "JSON lines; - is standard input");
  command->add_option("-o,--output", o->output, "JSON lines; - is standard output");
  command->callback([o, &exit_code] { exit_code = tokenize(*o); });
}

}  // namespace spate::apps
