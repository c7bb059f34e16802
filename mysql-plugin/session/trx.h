// The session's transaction.
//
// One object for each session, attached to the session (a group leader commits for its followers, so never to a thread). It
// starts with the first table of a statement and ends in the handlerton's commit or rollback. Each statement inside a
// longer transaction starts at a savepoint, to which a failed statement returns.
//
// DDL runs in the same transaction: the dictionary's rows commit or vanish with the server's own. Whole indexes are
// dropped outside of it, afterwards: those of dropped tables when it has committed, those of created ones when it was
// rolled back. A crash before that leaves an index that no dictionary row names, and the next start drops it.

#ifndef SMARTENGINE_TRX_H
#define SMARTENGINE_TRX_H

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "session/innodb_part.h"
#include "smartengine-ffi/src/bridge.rs.h"

class THD;
struct handlerton;

namespace smartengine {

class Trx {
 public:
  /// The session's, made if it has none.
  static Trx &of(THD *thd);
  static Trx *find(const THD *thd);
  /// How many sessions have one, that of `thd` not counted, which loses it if it is idle.
  static uint64_t count_others(THD *thd);

  Trx();
  ~Trx();
  Trx(const Trx &) = delete;
  Trx &operator=(const Trx &) = delete;

  /// Enlists the session's transaction, and its statement, with the server; to be called by each table's first use in a
  /// statement. 0, or an error number.
  int start_statement(THD *thd);
  /// As `start_statement`, and marks the transaction as one that writes: the server's own marking misses engines not
  /// yet enlisted.
  int start_ddl(THD *thd);

  /// To be called before a row is written. A GTID that is not logged, and how far a replica's applier has come, the server writes to tables of its
  /// own, within this transaction and just before its commit. It would warn of a transaction over two engines then, which the user has not made.
  static void expect_server_tables(THD *thd);

  bool active() const { return m_active; }
  bool prepared() const { return m_prepared; }
  /// Whether it has no writes and no locks.
  bool holds_nothing() const { return !m_active || ffi::txn_holds_nothing(**m_txn); }
  ffi::TxnHandle &txn() { return **m_txn; }
  /// Whether it has raised the catalog's generation.
  bool has_generation() const { return m_has_generation; }
  void set_has_generation() { m_has_generation = true; }
  uint64_t id() const { return m_id.load(std::memory_order_acquire); }

  /// These indexes are dropped when the transaction commits, or when it is rolled back.
  void drop_on_commit(std::vector<uint32_t> indexes, uint64_t table_id);
  void drop_on_rollback(std::vector<uint32_t> indexes, uint64_t table_id);
  /// These are dropped when the transaction ends, or now if there is none: those of temporary tables, whose creation and
  /// removal no transaction covers.
  void drop_at_end(std::vector<uint32_t> indexes, uint64_t table_id);

  /// The log position that the store has to have before the client is answered, 0 if none; asked once.
  uint64_t take_awaited() { return std::exchange(m_awaited, 0); }

  /// Whether that is asked when the session's locks are released, not by its commit.
  bool waits_later() const { return m_waits_later; }

  /// First phase of a commit in two phases. What has written nothing has nothing to prepare.
  int prepare(THD *thd, bool all);
  /// Puts on record that the coordinator knows of the prepared transaction.
  int note_in_coordinator(THD *thd);
  /// Gives a prepared transaction to the engine, to be decided by name.
  int detach();
  /// With `sync` it is durable when this returns, as far as smartengine_flush_log_at_trx_commit goes; for the store see
  /// `take_awaited`.
  int commit(THD *thd, bool all, bool sync);
  int rollback();
  void commit_statement();
  int rollback_statement();

  uint64_t savepoint();
  int rollback_to(uint64_t savepoint);

 private:
  enum class When : uint8_t { commit, rollback, always };
  struct Drop {
    std::vector<uint32_t> indexes;
    uint64_t table_id;
    When when;
  };

  void begin(THD *thd);
  /// Syncs this engine's log if the parts are to be synced.
  int sync_own_part();
  /// Has InnoDB's log on the disk, or where it is not to be synced, written as is set.
  void sync_innodb_part();
  /// InnoDB's log has its part, and from now on the fate of that part decides (innodb_part.h).
  int note_innodb_prepared(THD *thd);
  /// Sees to it that InnoDB's part has committed.
  int commit_innodb_part(THD *thd, bool all);
  void end(bool committed);

  std::optional<rust::Box<ffi::TxnHandle>> m_txn;
  std::atomic<uint64_t> m_id{0};
  std::optional<uint64_t> m_statement_start;
  std::vector<Drop> m_drops;
  size_t m_drops_at_statement_start = 0;
  uint64_t m_awaited = 0;
  /// Where the binary log does not get it, and InnoDB has a part in it.
  std::optional<innodb_part::Part> m_innodb_part;
  bool m_active = false;
  bool m_prepared = false;
  bool m_waits_later = false;
  bool m_is_ddl = false;
  bool m_syncs_parts = false;  ///< DDL, and its logs are not synced as a matter of course.
  bool m_has_generation = false;
};

/// Whether the session's transaction goes on after the statement.
bool in_longer_transaction(const THD *thd);

/// Whether the session's commit syncs by itself. Under the binary log the coordinator syncs once for a group of transactions, by `flush_logs`.
bool syncs(THD *thd);

}  // namespace smartengine

#endif  // SMARTENGINE_TRX_H
