#include "apps/interrupt.h"

#include <atomic>

namespace spate::apps {
namespace {

// A signal handler reaches nothing else: this flag is the one global of the program.
std::atomic<bool> interrupted{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void on_interrupt(int signal) {
  if (interrupted.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

Interrupt::Interrupt() {
  clear();
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, &before_);
}

Interrupt::~Interrupt() { sigaction(SIGINT, &before_, nullptr); }

bool Interrupt::seen() const { return interrupted.load(); }

void Interrupt::clear() { interrupted.store(false); }

}  // namespace spate::apps
