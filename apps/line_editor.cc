#include "apps/line_editor.h"

#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string_view>

#include <langinfo.h>
#include <unistd.h>

namespace spate::apps {
namespace {

constexpr int kHistoryLines = 1000;
// Terminals put pasted text between these marks when asked to (xterm's bracketed paste).
constexpr std::string_view kAskForMarks = "\033[?2004h";
constexpr std::string_view kNoMoreMarks = "\033[?2004l";
constexpr std::wstring_view kPasteEnd = L"\033[201~";

/// libedit reads characters by the locale; text is UTF-8 here even where the locale says nothing.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

void tell_terminal(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

LineEditor::LineEditor(std::string history_file) : history_file_(std::move(history_file)) {
  if (isatty(STDIN_FILENO) != 1) return;
  use_utf8();
  FILE* screen = isatty(STDOUT_FILENO) == 1 ? stdout : stderr;
  edit_ = el_init("spate", stdin, screen, stderr);
  history_ = history_init();
  if (edit_ == nullptr || history_ == nullptr) return;
  HistEvent event{};
  history(history_, &event, H_SETSIZE, kHistoryLines);
  history(history_, &event, H_SETUNIQUE, 1);
  if (!history_file_.empty()) history(history_, &event, H_LOAD, history_file_.c_str());
  bind_keys();
}

LineEditor::~LineEditor() {
  if (edit_ != nullptr) el_end(edit_);
  if (history_ != nullptr) history_end(history_);
}

void LineEditor::bind_keys() {
  el_set(edit_, EL_CLIENTDATA, this);
  el_set(edit_, EL_PROMPT, &LineEditor::prompt_of);
  el_set(edit_, EL_HIST, history, history_);
  el_set(edit_, EL_EDITOR, "emacs");
  el_set(edit_, EL_SIGNAL, 1);  // the window's size, and the terminal as it was after SIGTERM
  el_set(edit_, EL_ADDFN, "spate-abandon", "abandon the line", &LineEditor::abandon);
  el_set(edit_, EL_ADDFN, "spate-paste", "insert pasted text", &LineEditor::paste);
  el_set(edit_, EL_ADDFN, "spate-suspend", "stop until fg", &LineEditor::suspend);
  el_set(edit_, EL_SETTY, "-d", "-isig", nullptr);  // Ctrl-C is a key while a line is edited
  el_set(edit_, EL_BIND, "^C", "spate-abandon", nullptr);
  el_set(edit_, EL_BIND, "^Z", "spate-suspend", nullptr);
  // A Ctrl-D from before the terminal gave up reading lines arrives as a zero.
  el_set(edit_, EL_BIND, "^@", "em-delete-or-list", nullptr);
  el_set(edit_, EL_BIND, "\\e[200~", "spate-paste", nullptr);
  el_set(edit_, EL_BIND, "\\e[1;5C", "em-next-word", nullptr);
  el_set(edit_, EL_BIND, "\\e[1;5D", "ed-prev-word", nullptr);
  el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

LineEditor& LineEditor::of(EditLine* edit) {
  void* self = nullptr;
  el_get(edit, EL_CLIENTDATA, &self);
  return *static_cast<LineEditor*>(self);
}

char* LineEditor::prompt_of(EditLine* edit) { return of(edit).prompt_.data(); }

/// Ends the line as Enter would, so that libedit leaves the screen in order.
unsigned char LineEditor::abandon(EditLine* edit, int) {
  of(edit).abandoned_ = true;
  const LineInfoW* line = el_wline(edit);
  el_cursor(edit, static_cast<int>(line->lastchar - line->cursor));
  el_insertstr(edit, "^C");
  el_push(edit, "\n");
  return CC_REFRESH;
}

unsigned char LineEditor::suspend(EditLine*, int) {
  std::raise(SIGTSTP);  // libedit's handler puts the terminal in order, before and after
  return CC_REDISPLAY;
}

unsigned char LineEditor::paste(EditLine* edit, int) {
  std::wstring text;
  wchar_t c = 0;
  while (el_wgetc(edit, &c) == 1) {
    text += c == L'\r' ? L'\n' : c;
    if (text.ends_with(kPasteEnd)) break;
  }
  if (text.ends_with(kPasteEnd)) text.resize(text.size() - kPasteEnd.size());
  while (text.ends_with(L'\n')) text.pop_back();
  return el_winsertstr(edit, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

void LineEditor::remember(const char* line) {
  HistEvent event{};
  history(history_, &event, H_ENTER, line);
  if (!history_file_.empty()) history(history_, &event, H_SAVE, history_file_.c_str());
}

std::optional<std::string> LineEditor::edit_line(const std::string& prompt) {
  prompt_ = prompt;
  abandoned_ = false;
  tell_terminal(kAskForMarks);
  int n = 0;
  const char* raw = el_gets(edit_, &n);
  tell_terminal(kNoMoreMarks);
  if (abandoned_) return std::string();
  if (raw == nullptr || n <= 0) {
    std::fputs("\n", stderr);
    return std::nullopt;
  }
  std::string line(raw, static_cast<std::size_t>(n));
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  if (line.find_first_not_of(" \t\n") != std::string::npos) remember(line.c_str());
  return line;
}

std::optional<std::string> LineEditor::read_line(const std::string& prompt) {
  if (edit_ != nullptr && history_ != nullptr) return edit_line(prompt);
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  constexpr std::string_view kQuotes = R"(""")";
  const std::string more = std::string(prompt.size() > 2 ? prompt.size() - 2 : 0, ' ') + ". ";
  std::optional<std::string> line = read_line(prompt);
  if (!line) return std::nullopt;
  std::string message;
  if (*line == kQuotes) {
    while ((line = read_line(more)) && !abandoned_ && *line != kQuotes) message += *line + "\n";
    return abandoned_ ? std::string() : message;
  }
  while (line->ends_with('\\')) {
    message += line->substr(0, line->size() - 1) + "\n";
    line = read_line(more);
    if (!line) return message;
    if (abandoned_) return std::string();
  }
  return message + *line;
}

}  // namespace spate::apps
