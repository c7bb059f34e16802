// Replay: the server's dictionary becomes what the catalog says, by SQL, before the first client is let in.
//
// In this order: what is there and should not be is dropped (only on a disk that was in step once); schemas; tables, bound to their indexes in
// the store; libraries, functions, procedures; views, again and again while that makes more of them; triggers in their order;
// events; accounts, then what they are granted, then their default roles; last the schemas that are read only are made so.
// Each definition is made under the sql_mode and character sets it was written under. A definer or a table that is not there does no harm.
//
// A server of another series makes of accounts what MySQL's own upgrade makes of them (rights.h, unloaded_plugin.h). What it cannot make of a definition
// is named and kept as it is, so that nothing of it is lost to a server that can.
//
// What is there already and the same is left alone, so a replay that a crash cut off is simply done again. A definition that fails is named in
// the error log with the reason, and marked in the catalog: it stays there, and is tried again at the next start.

#ifndef SMARTENGINE_CATALOG_REPLAY_H
#define SMARTENGINE_CATALOG_REPLAY_H

#include <set>
#include <string>

#include "catalog/entry.h"
#include "catalog/sql_session.h"

namespace smartengine::catalog {

struct ReplayResult {
  size_t made = 0;
  size_t dropped = 0;
  size_t failed = 0;
  std::set<Name> in_step;  ///< What need not be captured again.
  bool complete = true;    ///< Whether all was tried.
};

/// `was_in_step`: the disk was in step with this catalog once, so that what the catalog does not have was dropped since.
ReplayResult replay(SqlSession &session, bool was_in_step);
/// Tries again what the last replay could not make, but for accounts that statements have named since.
ReplayResult replay_failed(SqlSession &session, const std::set<Name> &defined_anew);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_REPLAY_H
