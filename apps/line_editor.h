// Reading lines from a person: editing and history through libedit on a terminal, plain lines
// elsewhere.
#pragma once

#include <optional>
#include <string>

namespace spate::apps {

/// One at a time: libedit has one state per process.
class LineEditor {
 public:
  /// History is kept in `history_file`; empty: not kept.
  explicit LineEditor(std::string history_file);
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  ~LineEditor();

  /// One message: a line, lines joined while they end in a backslash, or everything between two
  /// lines of three quotes. Nothing at the end of input; empty after Ctrl-C.
  std::optional<std::string> read(const std::string& prompt);

 private:
  std::optional<std::string> read_line(const std::string& prompt);

  std::string history_file_;
  bool terminal_;
};

}  // namespace spate::apps
