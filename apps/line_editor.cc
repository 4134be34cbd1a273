#include "apps/line_editor.h"

#include <cstdlib>
#include <iostream>

#include <editline/readline.h>
#include <unistd.h>

namespace spate::apps {

LineEditor::LineEditor(std::string history_file)
    : history_file_(std::move(history_file)), terminal_(isatty(STDIN_FILENO) == 1) {
  if (!terminal_) return;
  using_history();
  if (!history_file_.empty()) read_history(history_file_.c_str());
}

LineEditor::~LineEditor() {
  if (terminal_ && !history_file_.empty()) write_history(history_file_.c_str());
}

std::optional<std::string> LineEditor::read_line(const std::string& prompt) {
  if (!terminal_) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  char* raw = readline(prompt.c_str());
  if (raw == nullptr) return std::nullopt;
  std::string line(raw);
  std::free(raw);  // NOLINT: readline's contract
  if (!line.empty()) add_history(line.c_str());
  return line;
}

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  constexpr std::string_view kQuotes = R"(""")";
  const std::string more = std::string(prompt.size() > 2 ? prompt.size() - 2 : 0, ' ') + ". ";
  std::optional<std::string> line = read_line(prompt);
  if (!line) return std::nullopt;
  std::string message;
  if (*line == kQuotes) {
    while ((line = read_line(more)) && *line != kQuotes) message += *line + "\n";
    return message;
  }
  while (line->ends_with('\\')) {
    message += line->substr(0, line->size() - 1) + "\n";
    line = read_line(more);
    if (!line) return message;
  }
  return message + *line;
}

}  // namespace spate::apps
