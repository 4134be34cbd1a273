#include "spate/engine.h"

#include <ctime>

#include <fmt/format.h>

#include "core/json.h"
#include "engine/engine_impl.h"
#include "sample/params.h"

namespace spate {
namespace {

Error no_tokenizer(const std::string& path) {
  return {ErrorCode::kNotFound,
          fmt::format("{}: no tokenizer files (tokenizer.json or tokenizer.model); give token ids "
                      "instead of text",
                      path)};
}

/// The shapes that templates rely on; what is in the messages is the template's business.
Result<void> check_conversation(const OrderedJson& json) {
  const auto wrong = [](const char* what) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("a conversation: {}", what)};
  };
  if (!json.is_object()) return wrong("give a JSON object with \"messages\"");
  const OrderedJson tools = json.value("tools", OrderedJson());
  if (!tools.is_null() && !tools.is_array()) return wrong("\"tools\" must be an array");
  const OrderedJson kwargs = json.value("chat_template_kwargs", OrderedJson::object());
  if (!kwargs.is_object()) return wrong("\"chat_template_kwargs\" must be an object");
  return {};
}

}  // namespace

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions& options) {
  Result<std::unique_ptr<Impl>> impl = Impl::create(options);
  if (!impl) return impl.error();
  return std::unique_ptr<Engine>(new Engine(std::move(*impl)));
}

Result<ModelInfo> Engine::inspect(const EngineOptions& options) { return Impl::inspect(options); }

const ModelInfo& Engine::info() const { return impl_->info; }
EngineStats Engine::stats() const { return impl_->stats(); }
SamplingParams Engine::default_sampling() const { return impl_->default_sampling; }

Result<std::vector<TokenId>> Engine::tokenize(std::string_view text) const {
  if (!impl_->tokenizer) return no_tokenizer(impl_->info.path);
  return impl_->tokenizer->encode(text, {.add_special_tokens = true});
}

std::string Engine::detokenize(std::span<const TokenId> tokens) const {
  if (!impl_->tokenizer) return {};
  return impl_->tokenizer->decode(tokens, {.skip_special_tokens = false});
}

Result<std::vector<TokenId>> Engine::tokenize_chat(std::span<const ChatMessage> messages) const {
  OrderedJson json = {{"messages", OrderedJson::array()}};
  for (const ChatMessage& m : messages) {
    OrderedJson& message = json["messages"].emplace_back();
    message = {{"role", m.role}, {"content", m.content}};
    for (const auto& [name, value] : m.fields) message[name] = value;
  }
  return tokenize_chat_json(json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
}

Result<std::vector<TokenId>> Engine::tokenize_chat_json(std::string_view conversation) const {
  if (!impl_->tokenizer) return no_tokenizer(impl_->info.path);
  if (!impl_->chat_template) {
    return Error{
        ErrorCode::kUnsupported,
        fmt::format("{}: the model has no chat template; use \"prompt\"", impl_->info.path)};
  }
  const Result<OrderedJson> json = parse_ordered_json(conversation, "conversation");
  if (!json) return json.error();
  const Result<void> shaped = check_conversation(*json);
  if (!shaped) return shaped.error();
  const Tokenizer& tokenizer = *impl_->tokenizer;
  ChatInput input{.messages = json->value("messages", OrderedJson::array()),
                  .tools = json->value("tools", OrderedJson()),
                  .add_generation_prompt = true};
  if (const auto bos = tokenizer.bos_id())
    input.bos_token = std::string(tokenizer.id_to_token(*bos));
  if (const auto eos = tokenizer.eos_id())
    input.eos_token = std::string(tokenizer.id_to_token(*eos));
  const std::time_t now = std::time(nullptr);
  localtime_r(&now, &input.now);
  if (json->contains("chat_template_kwargs")) input.extra = json->at("chat_template_kwargs");
  const Result<std::string> text = impl_->chat_template->render(input);
  if (!text) return text.error();
  return tokenizer.encode(*text, {.add_special_tokens = false});
}

Result<RequestId> Engine::submit(Request request) { return impl_->submit(std::move(request)); }
void Engine::cancel(RequestId id) { impl_->cancel(id); }
bool Engine::step() { return impl_->step(); }
void Engine::set_profile(Profile* profile) { impl_->set_profile(profile); }

void Engine::run_until_idle() {
  while (step()) {
  }
}

Result<RequestResult> Engine::complete(Request request) {
  std::optional<RequestResult> result;
  request.on_done = [&result](RequestResult r) { result = std::move(r); };
  const Result<RequestId> id = submit(std::move(request));
  if (!id) return id.error();
  while (!result) step();
  return std::move(*result);
}

}  // namespace spate
