// Reading lines from a person: editing, history and pasted text through libedit on a terminal,
// plain lines elsewhere.
#pragma once

#include <optional>
#include <string>

#include <histedit.h>

namespace spate::apps {

class LineEditor {
 public:
  /// History is kept in `history_file`, which only its owner can read; empty: not kept.
  explicit LineEditor(std::string history_file);
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  ~LineEditor();

  /// One message: a line (pasted text may have several), lines joined while they end in a
  /// backslash, or everything between two lines of three quotes. Nothing at the end of input; empty
  /// after Ctrl-C, which abandons all that was typed.
  std::optional<std::string> read(const std::string& prompt);

 private:
  std::optional<std::string> read_line(const std::string& prompt);
  std::optional<std::string> edit_line(const std::string& prompt);
  void bind_keys();
  void remember(const char* line);
  static LineEditor& of(EditLine* edit);
  static char* prompt_of(EditLine* edit);
  static unsigned char abandon(EditLine* edit, int key);
  static unsigned char suspend(EditLine* edit, int key);
  static unsigned char paste(EditLine* edit, int key);

  std::string history_file_;
  std::string prompt_{};
  bool abandoned_ = false;
  EditLine* edit_ = nullptr;  // null: not a terminal
  History* history_ = nullptr;
};

}  // namespace spate::apps
