#include "server/transaction_hooks.h"

#include <memory>
#include <mutex>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "catalog/gtid.h"
#include "compat.h"
#include "mysql/plugin.h"
#include "server/xa.h"
#include "session/applier_waits.h"
#include "session/durability.h"
#include "session/trx.h"
#include "sql/mysqld.h"
#include "sql/sql_thd_internal_api.h"
#include "sql/transaction_info.h"
#include "sql/xa.h"

namespace smartengine {

namespace {

/// The transaction's end is the session's affair, but the group leader may be the one who runs it.
int raised(int error, const THD *thd) {
  if (error == 0) return 0;
  if (thd == current_thd)
    raise(error);
  else
    log::error("commit for another session: " + last_error_message());
  return error;
}

int commit(handlerton *, THD *thd, bool all) {
  Trx *trx = Trx::find(thd);
  if (trx == nullptr) return 0;
  if (all || !in_longer_transaction(thd)) {
    const bool later = trx->waits_later();
    const auto commit_it = [&] { return trx->commit(thd, all, syncs(thd)); };
    const int error = guarded([&] { return raised(catalog::gtid::commit_with(thd, *trx, commit_it), thd); });
    // By now nothing is held that other commits need.
    if (error == 0 && !later) durability::finish(thd);
    return error;
  }
  trx->commit_statement();
  return 0;
}

int prepare(handlerton *, THD *thd, bool all) {
  Trx *trx = Trx::find(thd);
  if (trx == nullptr) return 0;
  if (all || !in_longer_transaction(thd)) return guarded([&] { return raised(trx->prepare(thd, all), thd); });
  trx->commit_statement();
  return 0;
}

int set_prepared_in_tc(handlerton *, THD *thd) {
  Trx *trx = Trx::find(thd);
  if (trx == nullptr) return 0;
  const int error = trx->note_in_coordinator(thd);
  if (error != 0 && opt_bin_log) stop_server("record the coordinator's knowledge of a prepared transaction");
  return raised(error, thd);
}

int rollback(handlerton *, THD *thd, bool all) {
  Trx *trx = Trx::find(thd);
  if (trx == nullptr) return 0;
  if (all || !in_longer_transaction(thd)) {
    const bool decided = trx->prepared() && thd->get_transaction()->xid_state()->has_state(XID_STATE::XA_PREPARED) && opt_bin_log;
    const int error = trx->rollback();
    if (error != 0 && decided) stop_server("roll back a prepared transaction");
    return raised(error, thd);
  }
  return raised(trx->rollback_statement(), thd);
}

int savepoint_set(handlerton *, THD *thd, void *place) {
  *static_cast<uint64_t *>(place) = Trx::of(thd).savepoint();
  return 0;
}

int savepoint_rollback(handlerton *, THD *thd, void *place) {
  return raised(Trx::of(thd).rollback_to(*static_cast<uint64_t *>(place)), thd);
}

/// Whether the tables that were first used after the savepoint may be altered by others: with a lock or a write of this transaction's left, one of
/// them could still be in use.
bool savepoint_rollback_can_release_mdl(handlerton *, THD *thd) {
  const Trx *trx = Trx::find(thd);
  return trx == nullptr || trx->holds_nothing();
}

int savepoint_release(handlerton *, THD *, void *) { return 0; }

int start_consistent_snapshot(handlerton *, THD *thd) {
  const int error = guarded([&] { return Trx::of(thd).start_statement(thd); });
  if (error != 0) return error;
  if (thd_get_trx_isolation(thd) < ISO_REPEATABLE_READ) {
    push_warning_printf(thd, Sql_condition::SL_WARNING, HA_ERR_UNSUPPORTED,
                        "SMARTENGINE: WITH CONSISTENT SNAPSHOT was ignored because this phrase can only be used with REPEATABLE READ "
                        "isolation level and above.");
    return 0;
  }
  return raised(ha_error(ffi::txn_take_snapshot(Trx::of(thd).txn()), thd), thd);
}

/// Held while a session's object goes away, and while another thread looks at it.
std::mutex closing;

void kill_connection(handlerton *, THD *thd) {
  const std::lock_guard<std::mutex> guard(closing);
  const Trx *trx = Trx::find(thd);
  const uint64_t id = trx == nullptr ? 0 : trx->id();
  if (id != 0 && is_open()) ffi::engine_interrupt(engine(), id);
}

/// The session and its transaction part: a prepared one lives on, any other is undone.
void let_go(Trx &trx) {
  const int error = guarded([&] { return trx.prepared() ? trx.detach() : trx.rollback(); });
  if (error != 0) log::error("end of a session: " + last_error_message());
}

/// A replica's applier puts the session's transaction aside to run an XA transaction in its place (`aside` is where to
/// put it), and brings it back later. Without a place, the session's transaction is a prepared one that leaves it.
void replace_transaction(THD *thd, void *replacement, void **aside) {
  std::unique_ptr<Trx> leaving;
  if (aside != nullptr) {
    *aside = Trx::find(thd);
  } else {
    leaving.reset(Trx::find(thd));
    if (leaving != nullptr) let_go(*leaving);
  }
  const std::lock_guard<std::mutex> guard(closing);
  thd_set_ha_data(thd, hton, replacement);
  leaving.reset();
}

int close_connection(handlerton *, THD *thd) {
  applier_waits::forget(thd);
  std::unique_ptr<Trx> trx(Trx::find(thd));
  if (trx != nullptr) let_go(*trx);
  const std::lock_guard<std::mutex> guard(closing);
  thd_set_ha_data(thd, hton, nullptr);
  trx.reset();
  return 0;
}

}  // namespace

void install_transaction_hooks(handlerton *handlerton) {
  handlerton->prepare = prepare;
  handlerton->commit = commit;
  handlerton->rollback = rollback;
  handlerton->savepoint_set = savepoint_set;
  handlerton->savepoint_rollback = savepoint_rollback;
  handlerton->savepoint_rollback_can_release_mdl = savepoint_rollback_can_release_mdl;
  handlerton->savepoint_release = savepoint_release;
  handlerton->start_consistent_snapshot = start_consistent_snapshot;
  handlerton->kill_connection = kill_connection;
  handlerton->close_connection = close_connection;
  handlerton->set_prepared_in_tc = set_prepared_in_tc;
  handlerton->replace_native_transaction_in_thd = replace_transaction;
  xa::install_hooks(handlerton);
  // An engine installed at run time is given a place that begins sizeof(SAVEPOINT) too far in the server's allocation:
  // ask for as much more.
  handlerton->savepoint_offset = sizeof(uint64_t) + sizeof(SAVEPOINT);
}

}  // namespace smartengine
