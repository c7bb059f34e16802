// Capture: what a statement changed in the server's dictionary is in the catalog before the statement's client has its OK.
//
// Tables of this engine change the catalog in their own transaction (tables.h). For all else the server tells only that something
// may have changed, in two ways:
//
//   notify_exclusive_mdl   before an exclusive metadata lock on a schema, table, view, routine, trigger or event is taken, and after it was
//                          released, which is after the statement's commit, or its rollback
//   acl_notify             after a statement on accounts was committed and has let go of all its locks
//
// A hook notes the name. When the session has released its last such lock, it waits until the capture thread has read the named objects
// again by SHOW CREATE and written what differs, in one transaction of the engine. The session holds no lock then that such a
// reading would wait for; if another session does, the thread gives up after two seconds, the statement goes on, and the name is
// tried again until it could be read.
//
// A crash between the statement's commit and the capture's leaves the catalog behind the dictionary on this server's disk: the next start there
// finds that and captures it. If the disk is lost as well, the statement, which had not been answered, is not there.

#ifndef SMARTENGINE_CATALOG_CAPTURE_H
#define SMARTENGINE_CATALOG_CAPTURE_H

#include <set>

#include "catalog/entry.h"
#include "catalog/sql_session.h"

struct handlerton;

namespace smartengine::catalog {

/// Fills in the handlerton's hooks.
void install_capture_hooks(handlerton *handlerton);

/// Starts the thread, which tries `unread` again. Only then are the hooks heeded.
void start_capture(const std::set<Name> &unread);
/// Captures what is left and ends the thread; true if all could be captured.
bool stop_capture();
bool is_capturing();

/// The same in the caller's session, for all of the server's dictionary: afterwards the catalog is what the dictionary says, except for
/// entries that are in no dictionary because they could not be replayed. Tables are compared by name and id alone, where their text is known to
/// be in step. What cannot be read now stays as it is in the catalog, and is added to `unread`. False if the dictionary cannot be listed, or nothing
/// written, as the error log says.
bool capture_all(SqlSession &session, bool with_table_texts, const std::set<Name> &known, std::set<Name> *unread);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_CAPTURE_H
