// The server's hooks by which the catalog learns what may have changed:
//
//   notify_exclusive_mdl   before an exclusive metadata lock on a schema, table, view, routine, trigger or event is taken, and after it was
//                          released, which is after the statement's commit, or its rollback
//   acl_notify             after a statement on accounts was committed and has let go of all its locks
//
// A hook notes the name. When the session has released its last such lock, it waits until that was captured (capture.h). The session holds no
// lock then that a reading would wait for; if another session does, the thread gives up after two seconds, and the statement goes on.
//
// A client is never answered as if its definition were kept when it is not: it gets a warning when the capture failed or takes too long, and when
// this server is not attached to the store's catalog; and an error, before anything is done, when the engine takes no writes.

#ifndef SMARTENGINE_CATALOG_HOOKS_H
#define SMARTENGINE_CATALOG_HOOKS_H

#include <set>

#include "catalog/entry.h"

struct handlerton;

namespace smartengine::catalog {

void install_hooks(handlerton *handlerton);

/// The accounts that statements have named while nothing was attached, as those of an init file do: it is run before the server lets anyone in. Once.
std::set<Name> take_accounts_named_before();

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_HOOKS_H
