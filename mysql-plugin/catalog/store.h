// The catalog's rows in the engine: reading them, and writing them in a transaction of the session's or of their own.
//
// Every transaction that changes the catalog raises its generation. The generation goes to the disk of this server first
// (disk.h), so that a disk with a lower one than the store's was left behind.

#ifndef SMARTENGINE_CATALOG_STORE_H
#define SMARTENGINE_CATALOG_STORE_H

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "catalog/entry.h"
#include "smartengine-ffi/src/bridge.rs.h"

namespace smartengine {
class Trx;
}

namespace smartengine::catalog {

/// A transaction of the catalog's own.
class Change {
 public:
  Change();
  ~Change();
  Change(const Change &) = delete;
  Change &operator=(const Change &) = delete;

  /// 0 or an error number, as all that follow.
  int put(const Entry &entry);
  int remove(const Name &name);
  /// Raises a counter with the commit.
  int raise(Slice key, uint64_t value);
  int remove_row(Slice key);
  bool empty() const { return m_empty; }
  /// Raises the generation and commits; nothing is written if nothing was changed.
  int commit();
  /// Commits without a new generation: for what is not about definitions.
  int commit_quietly();

 private:
  int apply(const ffi::WriteOp &op);

  rust::Box<ffi::TxnHandle> m_txn;
  bool m_empty = true;
  bool m_ended = false;
};

/// Writes an entry in a session's transaction, with a new generation.
int put(Trx &trx, const Entry &entry);
int remove(Trx &trx, const Name &name);
/// The entry as the session's transaction sees it; nothing if there is none. An error number otherwise.
int find(Trx &trx, const Name &name, std::optional<Entry> *entry);

/// The committed entry.
int find(const Name &name, std::optional<Entry> *entry);
/// All committed entries of a kind, in one schema if that is not empty. Throws if the store cannot be read to its end: what is missing from a list passes
/// for dropped. An entry that this plugin cannot decode is named in the error log and, if that is wanted, in `unreadable`: it is there.
std::vector<Entry> all(Kind kind, const std::string &schema = {}, std::set<Name> *unreadable = nullptr);

/// The generation of the store's catalog.
int generation(uint64_t *value);

/// The version of the server that entries, and the store, are marked with: this one's. A test can have them look older or newer.
uint32_t written_version();

/// Whether the store may be used by a server of this version, which it may not after a newer one; false with the reason in the error log. The store says
/// it itself, and then it was not even opened; stores from before it did have it in their entries alone.
bool takes_this_server();

/// Passes a failure point of the engine: true where it is armed to fail.
bool failpoint(const char *name);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_STORE_H
