// spate chat: a conversation in the terminal.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/interrupt.h"
#include "apps/line_editor.h"
#include "apps/options.h"
#include "apps/stream.h"

namespace spate::apps {
namespace {

constexpr std::string_view kHelp =
    "  /help            this list\n"
    "  /reset           forget the conversation\n"
    "  /system TEXT     set the system message and start over\n"
    "  /retry           answer the last message again\n"
    "  /history         show the conversation\n"
    "  /exit            leave (or Ctrl-D)\n"
    "End a line with \\ or put the text between lines of \"\"\" for several lines.\n"
    "A space before / makes it a message. Ctrl-C stops the answer, or drops the line.\n";

struct ChatCommand {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string system;
};

std::string history_file() {
  namespace fs = std::filesystem;
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  const bool has_state = state != nullptr && *state == '/';
  if (!has_state && home == nullptr) return {};
  const fs::path folder = (has_state ? fs::path(state) : fs::path(home) / ".local/state") / "spate";
  std::error_code code;
  fs::create_directories(folder, code);
  return code ? std::string() : (folder / "chat_history").string();
}

class Conversation {
 public:
  Conversation(Engine& engine, const ChatCommand& options)
      : engine_(engine),
        sampling_(options.sampling.apply_to(engine.default_sampling())),
        limited_(options.sampling.max_tokens ||
                 sampling_.max_tokens != SamplingParams{}.max_tokens),
        system_(options.system) {
    reset();
  }

  /// Handles one message or command; false: leave.
  bool handle(const std::string& text) {
    if (text.find_first_not_of(" \t\n") == std::string::npos) return true;
    if (text.front() == '/') return command(text);
    messages_.push_back({.role = "user", .content = text});
    answer();
    return true;
  }

 private:
  void reset() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({.role = "system", .content = system_});
  }

  bool command(const std::string& text) {
    const std::string name = text.substr(0, text.find(' '));
    const std::string rest = text.size() > name.size() ? text.substr(name.size() + 1) : "";
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/reset" || name == "/clear") {
      reset();
    } else if (name == "/system") {
      system_ = rest;
      reset();
    } else if (name == "/retry") {
      retry();
    } else if (name == "/history") {
      for (const ChatMessage& m : messages_) fmt::print("{}: {}\n", m.role, m.content);
    } else {
      if (name != "/help") fmt::print(stderr, "unknown command {}\n", name);
      fmt::print(stderr, "{}", kHelp);
    }
    return true;
  }

  void retry() {
    if (!messages_.empty() && messages_.back().role == "assistant") messages_.pop_back();
    if (messages_.empty() || messages_.back().role != "user") {
      fmt::print(stderr, "nothing to answer yet\n");
      return;
    }
    ++attempt_;
    answer();
  }

  void answer() {
    Result<std::vector<TokenId>> prompt = engine_.tokenize_chat(messages_);
    if (!prompt) return refuse(prompt.error());
    Interrupt interrupt;
    Request request{.prompt = std::move(*prompt), .sampling = sampling_};
    // Where nobody has set a limit, the context is one.
    const auto n = static_cast<std::int64_t>(request.prompt.size());
    const std::int64_t room = engine_.info().context_length - n;
    if (room < 1) return refuse(context_is_full(n));
    std::int64_t& limit = request.sampling.max_tokens;
    limit = limited_ ? std::min(limit, room) : room;
    if (request.sampling.seed) *request.sampling.seed += attempt_;
    const Result<RequestResult> result = stream_to_stdout(engine_, std::move(request), interrupt);
    fmt::print("\n");
    std::fflush(stdout);
    if (!result) return refuse(result.error());
    const Completion& completion = result->completions.front();
    if (completion.error) return refuse(*completion.error);
    messages_.push_back({.role = "assistant", .content = completion.text});
    print_speed(*result);
    if (completion.finish_reason == FinishReason::kLength) {
      fmt::print(
          stderr, "[cut: {}]\n",
          limited_ ? "--max-tokens sets the limit" : "the context is full; /reset empties it");
    }
  }

  Error context_is_full(std::int64_t n_tokens) const {
    return {
        ErrorCode::kInvalidArgument,
        fmt::format("the conversation has {} tokens and fills the context of {}; /reset forgets "
                    "it",
                    n_tokens, engine_.info().context_length)};
  }

  void refuse(const Error& error) {
    fmt::print(stderr, "spate: {}\n", error.message);
    if (!messages_.empty() && messages_.back().role == "user") messages_.pop_back();
  }

  Engine& engine_;
  SamplingParams sampling_;
  bool limited_;  // answers, by the user or the model
  std::string system_;
  std::vector<ChatMessage> messages_;
  std::uint64_t attempt_ = 0;
};

int chat(const ChatCommand& o) {
  auto engine = open_engine(o.engine);
  if (!engine) return fail(engine.error());
  const std::vector<ChatMessage> probe = {{.role = "user", .content = "hello"}};
  const auto supported = (*engine)->tokenize_chat(probe);
  if (!supported) return fail(supported.error());
  fmt::print(stderr, "{}: /help lists the commands, Ctrl-D leaves\n", (*engine)->info().path);
  LineEditor editor(history_file());
  Conversation conversation(**engine, o);
  while (const std::optional<std::string> text = editor.read("> ")) {
    if (!conversation.handle(*text)) break;
  }
  return kDone;
}

}  // namespace

void add_chat(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand("chat", "a conversation in the terminal");
  auto o = std::make_shared<ChatCommand>();
  command->add_option("--system", o->system, "system message");
  add_request_options(*command, o->engine, o->sampling);
  command->callback([o, &exit_code] { exit_code = chat(*o); });
}

}  // namespace spate::apps
