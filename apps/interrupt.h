// Ctrl-C as a question: while an Interrupt lives, SIGINT sets a flag instead of ending the program.
#pragma once

#include <csignal>

namespace spate::apps {

/// One at a time. A second SIGINT while the first is unanswered ends the program.
class Interrupt {
 public:
  Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt();

  bool seen() const;
  void clear();

 private:
  struct sigaction before_ {};
};

}  // namespace spate::apps
