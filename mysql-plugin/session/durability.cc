#include "session/durability.h"

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "base/settings.h"
#include "compat.h"
#include "mysql/plugin.h"
#include "session/locks_released.h"
#include "session/trx.h"

namespace smartengine::durability {

namespace {

/// How often a session that waits looks whether it was killed.
constexpr uint64_t kSliceMs = 100;

}  // namespace

bool wants_object(THD *thd) { return settings::commit_durability_is_object(thd); }

bool wait_later(THD *thd) { return locks_released::tell(thd, locks_released::kCommitted); }

void finish(THD *thd) {
  Trx *trx = is_open() ? Trx::find(thd) : nullptr;
  const uint64_t position = trx == nullptr ? 0 : trx->take_awaited();
  if (position != 0) acknowledge(thd, position);
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

}  // namespace smartengine::durability
