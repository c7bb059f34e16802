// smartengine_commit_durability = object: a commit is acknowledged once it is in the store.
//
// A session that commits by itself waits in the commit. Under the binary log a leader commits for its group, and for all groups in their order: a session that
// waited there would hold up everybody else, also those that commit at `local`. There the commit is only logged, and the last of a group has it sent at once; each
// session waits for its own when it has released its locks (locks_released.h), before its client is answered.
//
// A wait ends if the session is killed, another writer has taken over, or the server shuts down. The commit is then in the local log and visible; whether
// it reaches the store is not known, and the client hears that instead of an acknowledgement. To the server it has committed: told otherwise, it would
// go on without its GTID, or with the definitions from before a DDL statement.

#ifndef SMARTENGINE_DURABILITY_H
#define SMARTENGINE_DURABILITY_H

#include <cstdint>

class THD;

namespace smartengine::durability {

/// Whether the session's commits have to be in the store before they are acknowledged.
bool wants_object(THD *thd);

/// Makes the session wait for its commit once it has released its locks. False if that is not possible.
bool wait_later(THD *thd);
/// The session has released its locks: waits.
void finish(THD *thd);

/// Waits until the log is in the store up to `position`. An error number, with its message, if that is not known to be so.
int wait(THD *thd, uint64_t position);

/// Waits the same way for a commit of the session that is done: if it is not known to be in the store, the session's client gets the error.
void acknowledge(THD *thd, uint64_t position);

}  // namespace smartengine::durability

#endif  // SMARTENGINE_DURABILITY_H
