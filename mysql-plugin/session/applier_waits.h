// Waits between the workers of a replica, which are reported to the server.
//
// With replica_preserve_commit_order a worker that is done waits until all transactions before its own have committed, its rows locked. If one of those waits
// for such a row, neither gets on, and only the server knows both halves of the circle: told of the one, it rolls the later transaction back, which is tried
// again.

#ifndef SMARTENGINE_APPLIER_WAITS_H
#define SMARTENGINE_APPLIER_WAITS_H

#include <cstdint>

class THD;

namespace smartengine::applier_waits {

/// The session may wait, and be waited for, from now on. Nothing is kept for sessions that are no appliers.
void note(THD *thd);
/// The session goes away.
void forget(const THD *thd);

/// For ffi::engine_observe_waits: the labels are the sessions' thread ids.
extern "C" void smartengine_wait_observer(uint64_t waiting, uint64_t awaited);

}  // namespace smartengine::applier_waits

#endif  // SMARTENGINE_APPLIER_WAITS_H
