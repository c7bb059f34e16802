// smartengine_commit_durability = object: a commit is acknowledged once it is in the store.
//
// A session that commits by itself waits in the commit. Under the binary log a leader commits for its group, one after another, in a stage that the next
// group waits for: there the commit is only logged, and the wait comes when the server tells that the transaction has committed, outside of that
// stage, before the client is answered. The waits of a group overlap, since all its commits are in the log by then, and so do those of several groups,
// which the server lets wait one after another: the last commit of a group has it sent at once.
//
// The server tells an observer of transactions, which is registered with the first session that wants this: it costs every statement a little.
//
// A wait ends if the session is killed, another writer has taken over, or the server shuts down. The commit is then in the local log and visible; whether
// it reaches the store is not known, and the client hears that instead of an acknowledgement. To the server it has committed: told otherwise, it would
// go on without its GTID, or with the definitions from before a DDL statement.

#ifndef SMARTENGINE_DURABILITY_H
#define SMARTENGINE_DURABILITY_H

#include <cstdint>

class THD;

namespace smartengine::durability {

/// Whether the session's commits are to be in the store before they are acknowledged.
bool wants_object(THD *thd);

/// Has the server tell of commits, if any session may want to wait for the store.
void observe();

/// Waits until the log is in the store up to `position`. An error number, with its message, if that is not known to be so.
int wait(THD *thd, uint64_t position);

/// Waits the same way for a commit of the session that is done: if it is not known to be in the store, the session's client gets the error.
void acknowledge(THD *thd, uint64_t position);

/// The plugin beside the engine in whose name the server is observed.
int init(void *plugin);
int deinit(void *plugin);

}  // namespace smartengine::durability

#endif  // SMARTENGINE_DURABILITY_H
