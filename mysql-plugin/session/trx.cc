#include "session/trx.h"

#include <memory>
#include <utility>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "base/settings.h"
#include "compat.h"
#include "my_sys.h"
#include "mysql/plugin.h"
#include "mysqld_error.h"
#include "session/applier_waits.h"
#include "session/durability.h"
#include "session/group_sync.h"
#include "session/xid_name.h"
#include "sql/mysqld.h"
#include "sql/sql_thd_internal_api.h"
#include "sql/transaction_info.h"
#include "sql/xa.h"
#include "table/dictionary.h"

namespace smartengine {

namespace {

std::atomic<uint64_t> sessions{0};

ffi::Isolation isolation_of(const THD *thd) {
  switch (thd_get_trx_isolation(thd)) {
    case ISO_READ_UNCOMMITTED:
      return ffi::Isolation::ReadUncommitted;
    case ISO_READ_COMMITTED:
      return ffi::Isolation::ReadCommitted;
    case ISO_SERIALIZABLE:
      return ffi::Isolation::Serializable;
    default:
      return ffi::Isolation::RepeatableRead;
  }
}

Ha_trx_info &enlistment(THD *thd, bool all) { return thd->get_ha_data(hton->slot)->ha_info[all ? 1 : 0]; }

/// Whether a coordinator has written down by now what becomes of the session's prepared transaction. Without a binary log nobody
/// but the client knows of an external XA transaction.
bool is_decided(THD *thd) { return opt_bin_log || !thd->get_transaction()->xid_state()->has_state(XID_STATE::XA_PREPARED); }

/// Not with sql_log_bin = 0, nor in a schema that is left out of it.
bool reaches_binary_log(THD *thd) {
  for (const auto scope : {Transaction_ctx::STMT, Transaction_ctx::SESSION}) {
    for (const Ha_trx_info &info : thd->get_transaction()->ha_trx_info(scope)) {
      if (info.ht()->db_type == DB_TYPE_BINLOG) return true;
    }
  }
  return false;
}

}  // namespace

bool in_longer_transaction(const THD *thd) { return thd_test_options(thd, OPTION_NOT_AUTOCOMMIT | OPTION_BEGIN); }

bool syncs(THD *thd) { return thd_get_durability_property(thd) != HA_IGNORE_DURABILITY; }

Trx *Trx::find(const THD *thd) { return static_cast<Trx *>(thd_get_ha_data(thd, hton)); }

Trx &Trx::of(THD *thd) {
  Trx *trx = find(thd);
  if (trx == nullptr) {
    auto made = std::make_unique<Trx>();
    thd_set_ha_data(thd, hton, made.get());
    trx = made.release();
    applier_waits::note(thd);
  }
  return *trx;
}

Trx::Trx() { sessions.fetch_add(1, std::memory_order_relaxed); }

Trx::~Trx() {
  if (m_active && !m_prepared) rollback();
  sessions.fetch_sub(1, std::memory_order_relaxed);
}

uint64_t Trx::count_others(THD *thd) {
  const std::unique_ptr<Trx> idle(find(thd));
  if (idle != nullptr) thd_set_ha_data(thd, hton, nullptr);
  return sessions.load(std::memory_order_relaxed) - (idle != nullptr ? 1 : 0);
}

void Trx::begin(THD *thd) {
  const ffi::Isolation isolation = isolation_of(thd);
  if (m_txn)
    ffi::txn_restart(**m_txn, isolation);
  else
    m_txn.emplace(ffi::txn_begin(engine(), isolation));
  ffi::txn_set_label(**m_txn, thd->thread_id());
  m_id.store(ffi::txn_id(**m_txn), std::memory_order_release);
  m_awaited = 0;
  m_active = true;
}

int Trx::start_statement(THD *thd) {
  if (!m_active) begin(thd);
  const ulonglong id = this->id();
  const bool longer = in_longer_transaction(thd);
  if (!enlistment(thd, false).is_started()) {
    trans_register_ha(thd, false, hton, &id);
    ffi::txn_set_lock_wait_timeout(txn(), settings::lock_wait_timeout_ms(thd));
    ffi::txn_start_statement(txn());
    m_statement_start.reset();
    if (longer) m_statement_start = ffi::txn_savepoint(txn());
    m_drops_at_statement_start = m_drops.size();
  }
  if (longer) trans_register_ha(thd, true, hton, &id);
  return 0;
}

int Trx::start_ddl(THD *thd) {
  const int error = start_statement(thd);
  if (error != 0) return error;
  for (const bool all : {false, true}) {
    Ha_trx_info &info = enlistment(thd, all);
    if (info.is_started()) info.set_trx_read_write();
  }
  m_is_ddl = true;
  return 0;
}

void Trx::expect_server_tables(THD *thd) {
  const bool logged = opt_bin_log && (thd->variables.option_bits & OPTION_BIN_LOG) != 0;
  if (thd->slave_thread || (owns_gtid(thd) && !logged)) forget_written_engine(thd);
}

void Trx::drop_on_commit(std::vector<uint32_t> indexes, uint64_t table_id) {
  m_drops.push_back({std::move(indexes), table_id, When::commit});
}

void Trx::drop_on_rollback(std::vector<uint32_t> indexes, uint64_t table_id) {
  m_drops.push_back({std::move(indexes), table_id, When::rollback});
}

void Trx::drop_at_end(std::vector<uint32_t> indexes, uint64_t table_id) {
  if (m_active) {
    m_drops.push_back({std::move(indexes), table_id, When::always});
  } else {
    dictionary::forget(table_id);
    drop_indexes(indexes);
  }
}

void Trx::end(bool committed) {
  m_active = false;
  m_prepared = false;
  m_waits_later = false;
  m_is_ddl = false;
  m_syncs_parts = false;
  m_innodb_part.reset();
  m_has_generation = false;
  m_id.store(0, std::memory_order_release);
  m_statement_start.reset();
  m_drops_at_statement_start = 0;
  const When now = committed ? When::commit : When::rollback;
  for (const Drop &drop : m_drops) {
    if (committed && drop.when == When::rollback) dictionary::note_visible(drop.table_id, ffi::engine_visible(engine()));
    if (drop.when != now && drop.when != When::always) continue;
    dictionary::forget(drop.table_id);
    drop_indexes(drop.indexes);
  }
  m_drops.clear();
}

int Trx::prepare(THD *thd, bool all) {
  if (!m_active || !ffi::txn_has_writes(txn())) return 0;
  const std::string name = xid_name::of(thd);
  // The binary log syncs for those that are written to it, and has the engines rely on that for all.
  const bool external = xid_name::is_external(thd);
  const bool unlogged = opt_bin_log && !external && !reaches_binary_log(thd);
  if (unlogged) thd->durability_property = HA_REGULAR_DURABILITY;
  const bool sync = syncs(thd);
  // A server on another disk rolls back what the server coordinates itself, unless its commit is in the store.
  const bool object = durability::wants_object(thd) && external && sync;
  const ffi::Status status = ffi::txn_prepare(txn(), {reinterpret_cast<const uint8_t *>(name.data()), name.size()}, sync && !object);
  m_prepared = ok(status);
  if (m_prepared && !sync) group_sync::note_unsynced();
  if (!m_prepared) return ha_error(status, thd);
  if (object) return durability::wait(thd, ffi::txn_log_end(txn()));
  m_syncs_parts = m_is_ddl && !external && innodb_part::logs_are_relaxed();
  if (unlogged || m_syncs_parts) m_innodb_part = innodb_part::of(thd, all);
  if (int error = sync_own_part(); error != 0) return error;
  if (m_innodb_part && m_innodb_part->is_first) return note_innodb_prepared(thd);
  m_waits_later = !sync && !external && durability::wants_object(thd) && durability::wait_later(thd);
  return 0;
}

int Trx::note_in_coordinator(THD *thd) {
  if (!m_prepared) return 0;
  const int error = ha_error(ffi::txn_note_in_coordinator(txn(), syncs(thd)), thd);
  // Without this note another server would roll it back.
  if (error == 0 && durability::wants_object(thd)) durability::acknowledge(thd, ffi::txn_log_end(txn()));
  return error;
}

int Trx::sync_own_part() { return m_syncs_parts ? ha_error(ffi::engine_sync_wal(engine(), false), nullptr) : 0; }

void Trx::sync_innodb_part() {
  if (m_syncs_parts)
    innodb_part::sync_log(*m_innodb_part);
  else
    innodb_part::write_log(*m_innodb_part);
}

int Trx::note_innodb_prepared(THD *thd) {
  sync_innodb_part();
  int error = ha_error(ffi::txn_note_in_coordinator(txn(), syncs(thd)), thd);
  if (error == 0) error = sync_own_part();
  return error != 0 ? error : ha_error(ffi::failpoint("innodb_part.noted"), thd);
}

int Trx::commit_innodb_part(THD *thd, bool all) {
  if (!m_innodb_part->is_first) {
    if (int error = note_innodb_prepared(thd); error != 0) return error;
    if (int error = innodb_part::commit(*m_innodb_part, thd, all); error != 0) return error;
  }
  sync_innodb_part();
  return ha_error(ffi::failpoint("innodb_part.committed"), thd);
}

int Trx::detach() {
  // A transaction that only read has nothing that a later XA COMMIT could act on.
  if (!m_prepared) return rollback();
  const ffi::Status status = ffi::engine_detach(engine(), std::move(*m_txn));
  m_txn.reset();
  end(true);
  return ha_error(status, nullptr);
}

int Trx::commit(THD *thd, bool all, bool sync) {
  if (!m_active) return 0;
  if (m_innodb_part) {
    if (int error = commit_innodb_part(thd, all); error != 0) stop_server("commit a transaction over two engines");
  }
  const bool object = durability::wants_object(thd);
  const bool decided = m_prepared && is_decided(thd);
  const bool later = m_waits_later;
  const ffi::Status status = ffi::txn_commit(txn(), sync && !object);
  int error = ha_error(status, nullptr);
  if (error != 0 && decided) stop_server("commit a prepared transaction");
  m_awaited = error == 0 && object ? ffi::txn_log_end(txn()) : 0;
  // A commit that failed may still reach the log: what it created or dropped is left for the next start to decide.
  if (error != 0) m_drops.clear();
  end(true);
  // The last of a group: it is sent while the group waits for its turn to answer.
  if (m_awaited != 0 && later && thd->next_to_commit == nullptr) ffi::engine_want_uploaded(engine(), m_awaited);
  return error;
}

int Trx::rollback() {
  if (!m_active) return 0;
  const bool prepared = m_prepared;
  const int error = ha_error(ffi::txn_rollback(txn()), nullptr);
  end(false);
  // Of a transaction that was not prepared nothing is left in any case: only counters may not have been kept. Given an error, the server would leave the
  // transaction in the binary log's cache, and write it with the session's next one.
  return prepared ? error : 0;
}

void Trx::commit_statement() {
  m_statement_start.reset();
  m_drops_at_statement_start = m_drops.size();
}

int Trx::rollback_statement() {
  if (!m_active || !m_statement_start) return 0;
  const int error = rollback_to(*m_statement_start);
  auto kept = m_drops.begin() + static_cast<ptrdiff_t>(m_drops_at_statement_start);
  for (auto drop = kept; drop != m_drops.end(); ++drop) {
    if (drop->when == When::commit) continue;
    drop->when = When::always;
    if (kept != drop) *kept = std::move(*drop);
    ++kept;
  }
  m_drops.erase(kept, m_drops.end());
  return error;
}

uint64_t Trx::savepoint() { return ffi::txn_savepoint(txn()); }

int Trx::rollback_to(uint64_t savepoint) { return ha_error(ffi::txn_rollback_to(txn(), savepoint), nullptr); }

}  // namespace smartengine
