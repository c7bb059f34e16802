// The executed GTID set, in the store with the data it speaks of.
//
// One row for each interval, as a counter: a commit can raise it after its writes were prepared, when the binary log has given it its GTID.
//
//   key     u32 0 | 'G' | u32 epoch | uuid, or uuid:tag, as text | 00 | u64 first
//   value   u64 last
//
// The commit of a transaction with a GTID carries it: an interval that is known to be in the log and ends just before it grows by one, otherwise a
// new one begins. So whatever part of the log survives, a GTID is in it with its transaction or not at all. What has a GTID and writes nothing
// here (statements that are captured, transactions of other engines, empty ones, SET gtid_purged) is added from the server's own gtid_executed: with every
// capture, at attach and shutdown, and otherwise within a second; intervals that meet are made one there. `epoch` grows when the binary logs
// and GTIDs were reset, and rows of earlier ones count no more: a crash in between leaves the old set, and the reset was not acknowledged.

#ifndef SMARTENGINE_CATALOG_GTID_H
#define SMARTENGINE_CATALOG_GTID_H

#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "catalog/store.h"

class THD;
struct handlerton;

namespace smartengine {
class Trx;
}

namespace smartengine::catalog::gtid {

/// Reads the store's set; at open. 0 or an error number.
int load();
void install_hooks(handlerton *handlerton);

/// Commits by `commit`, which returns an error number, with the GTID that the session owns, if it owns one.
int commit_with(THD *thd, Trx &trx, const std::function<int()> &commit);

/// Brings the store's set to `executed`, the text of gtid_executed, in a transaction of the catalog. No transaction with a GTID commits while it
/// lives, nor is the set reset: the text is to be read after it was made.
class Adoption {
 public:
  Adoption();
  int add(Change &change, const std::string &executed);
  /// The change was committed.
  void done();

 private:
  std::unique_lock<std::shared_mutex> m_lock;
  bool m_added = false;
};

/// Adds what gtid_executed has and the store's set lacks. 0 or an error number.
int keep();

/// The server has reset its binary logs and GTIDs: the store's set is empty from now on.
void reset(THD *thd);

/// Adds one GTID, as `owned_gtid` writes it, to the store's set. 0 or an error number.
int record(const std::string &gtid);

/// The store's set, as the server writes such sets.
std::string text();

}  // namespace smartengine::catalog::gtid

#endif  // SMARTENGINE_CATALOG_GTID_H
