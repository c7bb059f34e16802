// What the server calls about a session's transaction: commit, prepare, rollback, savepoints, and the session's end.

#ifndef SMARTENGINE_TRANSACTION_HOOKS_H
#define SMARTENGINE_TRANSACTION_HOOKS_H

struct handlerton;

namespace smartengine {

/// Fills in the handlerton's hooks, those of recovery included (xa.h).
void install_transaction_hooks(handlerton *handlerton);

}  // namespace smartengine

#endif  // SMARTENGINE_TRANSACTION_HOOKS_H
