// What other threads tell the engine: new requests and cancellations, in order.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "engine/request_state.h"

namespace spate {

struct CancelOrder {
  RequestId id = 0;
};
using Mail = std::variant<std::unique_ptr<RequestState>, CancelOrder>;

/// Any thread posts; the engine's thread collects. Collecting nothing costs one atomic read.
class Mailbox {
 public:
  void post(Mail mail) {
    const std::lock_guard lock(mutex_);
    mail_.push_back(std::move(mail));
    any_.store(true, std::memory_order_release);
  }

  /// Replaces `into` by what came since.
  void collect(std::vector<Mail>& into) {
    into.clear();
    if (!any_.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(mutex_);
    into.swap(mail_);
    any_.store(false, std::memory_order_release);
  }

 private:
  std::mutex mutex_;
  std::vector<Mail> mail_;
  std::atomic<bool> any_{false};
};

}  // namespace spate
