// Capture: what a statement changed in the server's dictionary is in the catalog before the statement's client has its OK.
//
// Tables of this engine change the catalog in their own transaction (tables.h). Of all else the server's hooks name what may have changed
// (hooks.h); a thread then reads the named objects again by SHOW CREATE and writes what differs, in one transaction of the engine, while the
// session waits. What could not be read or written, for whatever reason, stays noted and is tried again until it could; the sessions that
// waited for it are told, and warn their clients.
//
// A crash between the statement's commit and the capture's leaves the catalog behind the dictionary on this server's disk: the next start there
// finds that and captures it. If the disk is lost as well, the statement, which had not been answered, is not there.

#ifndef SMARTENGINE_CATALOG_CAPTURE_H
#define SMARTENGINE_CATALOG_CAPTURE_H

#include <set>

#include "catalog/entry.h"
#include "catalog/sql_session.h"

namespace smartengine::catalog {

/// What is to be read again.
struct Todo {
  std::set<Name> names;
  bool accounts = false;  ///< All of them, and those that are gone.

  bool empty() const { return names.empty() && !accounts; }
  void merge(const Todo &other);
  bool meets(const Todo &other) const;
};

/// Starts to take notes, before the thread that works on them is there.
void expect_capture();
/// Starts the thread, which begins with `first`.
void start_capture(const Todo &first);
/// No thread will come after all: whoever waits for it goes on, uncaptured.
void give_up_capture();
/// Captures what is left and ends the thread; true if all could be captured.
bool stop_capture();
/// Whether notes are taken.
bool is_capturing();

void note(const Todo &changed);
/// Waits until all that was noted so far has been tried. False if that takes too long, or if some of `changed` could not be captured.
bool wait_for(const Todo &changed);

/// The same in the caller's session, for all of the server's dictionary: afterwards the catalog is what the dictionary says, except for
/// entries that are in no dictionary because they could not be replayed. Tables are compared by name and id alone, where their text is known to
/// be in step. What cannot be read now stays as it is in the catalog, and is added to `unread`. False if the dictionary cannot be listed, or nothing
/// written, as the error log says.
bool capture_all(SqlSession &session, bool with_table_texts, const std::set<Name> &known, std::set<Name> *unread);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_CAPTURE_H
