#include "durability.h"

#include <atomic>
#include <mutex>

#include "compat.h"
#include "error_map.h"
#include "handlerton.h"
#include "log.h"
#include "mysql/plugin.h"
#include "sql/current_thd.h"
#include "sql/replication.h"
#include "sysvars.h"
#include "trx.h"

namespace smartengine::durability {

namespace {

/// How often a session that waits looks whether it was killed.
constexpr uint64_t kSliceMs = 100;

std::mutex registration;
void *companion;
std::atomic<bool> observed{false};

int after_commit(Trans_param *) {
  THD *thd = current_thd;
  Trx *trx = thd == nullptr || !is_open() ? nullptr : Trx::find(thd);
  const uint64_t position = trx == nullptr ? 0 : trx->take_awaited();
  if (position != 0) acknowledge(thd, position);
  return 0;
}

Trans_observer observer = {sizeof(Trans_observer), nullptr, nullptr, nullptr, after_commit, nullptr, nullptr};

}  // namespace

bool wants_object(THD *thd) { return sysvars::commit_durability_is_object(thd); }

void observe() {
  if (observed.load(std::memory_order_acquire)) return;
  const std::lock_guard<std::mutex> guard(registration);
  if (companion == nullptr || observed.load(std::memory_order_relaxed)) return;
  if (register_trans_observer(&observer, companion) != 0) {
    log::error("the server takes no observer of transactions: under the binary log commits are acknowledged before they are in the store");
    return;
  }
  observed.store(true, std::memory_order_release);
}

int wait(THD *thd, uint64_t position) {
  while (true) {
    bool done = false;
    const ffi::Status status = ffi::engine_wait_uploaded(engine(), position, kSliceMs, done);
    if (!ok(status)) return ha_error(status, nullptr);
    if (done) return 0;
    if (thd != nullptr && thd_killed(thd) != 0) {
      return own_error(kErrorUnavailable,
                       "the commit is in the local log and visible, but it is not known to be in the store: the wait was interrupted");
    }
  }
}

void acknowledge(THD *thd, uint64_t position) {
  const int error = wait(thd, position);
  if (error == 0) return;
  if (thd->get_stmt_da()->is_sent()) return log::warning("a client was answered already: " + last_error_message());
  raise(error);
}

int init(void *plugin) {
  {
    const std::lock_guard<std::mutex> guard(registration);
    companion = plugin;
  }
  if (sysvars::object_is_the_default()) observe();
  return 0;
}

int deinit(void *) {
  const std::lock_guard<std::mutex> guard(registration);
  if (observed.exchange(false)) unregister_trans_observer(&observer, companion);
  companion = nullptr;
  return 0;
}

}  // namespace smartengine::durability
