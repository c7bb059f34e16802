#include "server/xa.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "catalog/gtid.h"
#include "compat.h"
#include "session/durability.h"
#include "session/group_sync.h"
#include "session/innodb_part.h"
#include "session/trx.h"
#include "session/xid_name.h"
#include "sql/current_thd.h"
#include "sql/mdl.h"
#include "sql/mdl_context_backup.h"
#include "sql/mysqld.h"
#include "sql/sql_list.h"
#include "sql/transaction_info.h"
#include "sql/xa.h"
#include "table/dictionary.h"

namespace smartengine::xa {

namespace {

rust::Slice<const uint8_t> bytes_of(const std::string &name) { return {reinterpret_cast<const uint8_t *>(name.data()), name.size()}; }

/// The tables that a prepared transaction writes to: the server protects them from DDL until it is decided.
List<st_handler_tablename> *tables_of(const ffi::PreparedTransaction &prepared, MEM_ROOT *root) {
  auto *list = new (root) List<st_handler_tablename>();
  if (list == nullptr) return nullptr;
  const std::vector<uint32_t> indexes(prepared.indexes.begin(), prepared.indexes.end());
  for (const std::string &path : dictionary::paths_of(indexes)) {
    const size_t slash = path.find('/');
    if (slash == std::string::npos) continue;
    auto *table = new (root) st_handler_tablename();
    if (table == nullptr) return nullptr;
    table->db = strmake_root(root, path.data(), slash);
    table->tablename = strmake_root(root, path.data() + slash + 1, path.size() - slash - 1);
    if (table->db == nullptr || table->tablename == nullptr || list->push_back(table, root)) return nullptr;
  }
  return list;
}

bool tables_stay_unlocked = false;

/// The server asks again as long as it is given as many as it has room for; those that stay prepared must not be listed twice.
class Listed {
 public:
  bool passes(const std::string &name) const { return name > m_last; }
  void note(const std::string &name) { m_last = name; }
  void start_again() { m_last.clear(); }

 private:
  std::string m_last;
};

Listed listed;

int recover(handlerton *, XA_recover_txn *transactions, uint size, MEM_ROOT *root) {
  uint count = 0;
  const int error = guarded([&] {
    for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
      if (count == size) break;
      const std::string name(prepared.name.begin(), prepared.name.end());
      if (!listed.passes(name)) continue;
      listed.note(name);
      XA_recover_txn &transaction = transactions[count];
      if (!xid_name::decode(prepared.name, &transaction.id)) {
        log::error("a prepared transaction has a name that is no XID; it stays prepared");
        continue;
      }
      transaction.mod_tables = tables_stay_unlocked ? new (root) List<st_handler_tablename>() : tables_of(prepared, root);
      if (transaction.mod_tables == nullptr) return HA_ERR_OUT_OF_MEM;
      ++count;
    }
    return 0;
  });
  if (error != 0) log::error("list prepared transactions: " + last_error_message());
  if (count < size) listed.start_again();
  return static_cast<int>(count);
}

int recover_prepared_in_tc(handlerton *, Xa_state_list &states) {
  return guarded([&] {
    for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
      XID xid;
      if (!xid_name::decode(prepared.name, &xid)) continue;
      // The coordinator knows about those that it named itself.
      if (xid.get_my_xid() != 0) continue;
      states.add(xid, prepared.in_coordinator ? enum_ha_recover_xa_state::PREPARED_IN_TC : enum_ha_recover_xa_state::PREPARED_IN_SE);
    }
    return 0;
  });
}

xa_status_code status_of(const ffi::Status &status, const char *what) {
  if (ok(status)) return XA_OK;
  if (status.code == ffi::Code::NotFound) return XAER_NOTA;
  log::error(std::string(what) + " a prepared transaction: " + std::string(ffi::last_error()));
  return XAER_RMFAIL;
}

/// What the coordinator's log says has to be done: at its start the server ignores an error, begins a new binary log, and never looks
/// into this one again.
xa_status_code carried_out(const ffi::Status &status, const std::string &what) {
  const xa_status_code code = status_of(status, what.c_str());
  if (code == XAER_RMFAIL && (opt_bin_log || !mysqld_server_started)) stop_server(what + " a prepared transaction");
  return code;
}

/// The name that the transaction was prepared under, which is longer than its XID if it has a GTID.
std::string prepared_name(const XID &xid) {
  const std::string start = xid_name::encode(xid);
  if (xid.get_my_xid() == 0) return start;
  for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
    const std::string name(prepared.name.begin(), prepared.name.end());
    if (name.compare(0, start.size(), start) == 0) return name;
  }
  return start;
}

xa_status_code decide(const XID &xid, bool commit) {
  const std::string name = prepared_name(xid);
  const std::string gtid = name.substr(xid_name::encode(xid).size());
  // Before the commit: after a crash between the two it is decided again.
  if (commit && !gtid.empty() && catalog::gtid::record(gtid) != 0) {
    if (opt_bin_log || !mysqld_server_started) stop_server("record the GTID of a prepared transaction");
    return XAER_RMFAIL;
  }
  return carried_out(ffi::engine_decide(engine(), bytes_of(name), commit), commit ? "commit" : "roll back");
}

xa_status_code commit_by_xid(handlerton *, XID *xid) {
  const xa_status_code decided = decide(*xid, true);
  THD *thd = current_thd;
  if (decided == XA_OK && thd != nullptr && durability::wants_object(thd)) durability::acknowledge(thd, ffi::engine_log_end(engine()));
  return decided;
}

xa_status_code rollback_by_xid(handlerton *, XID *xid) { return decide(*xid, false); }

xa_status_code set_prepared_in_tc_by_xid(handlerton *, XID *xid) {
  return carried_out(ffi::engine_note_in_coordinator(engine(), bytes_of(xid_name::encode(*xid))), "record the coordinator's knowledge of");
}

}  // namespace

// InnoDB's transactions go on when this engine takes no more writes, and the server rotates its logs for them: that is no
// failure as long as nothing waits for this sync.
bool flush_logs(::handlerton *, bool group) {
  if (!is_open()) return false;
  const uint64_t noted = group_sync::noted();
  const ffi::Status status = ffi::engine_sync_wal(engine(), group);
  const bool awaited = group_sync::is_awaited(noted);
  if (ok(status)) {
    group_sync::note_synced(noted);
    return false;
  }
  log::error("sync the log: " + std::string(ffi::last_error()));
  if (awaited && group) stop_server("make prepared transactions durable");
  return awaited;
}

void roll_back_others() {
  size_t count = 0;
  for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
    XID xid;
    if (!xid_name::decode(prepared.name, &xid) || xid.get_my_xid() == 0) continue;
    const std::string name(prepared.name.begin(), prepared.name.end());
    if (status_of(ffi::engine_decide(engine(), bytes_of(name), false), "roll back") == XA_OK) ++count;
  }
  if (count != 0) {
    log::information(std::to_string(count) +
                     " transactions are rolled back that another server was committing when its disk was left: none of "
                     "them was acknowledged as being in the store");
  }
}

bool commit_after_innodb() {
  std::vector<XID> ours;
  for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
    XID xid;
    if (prepared.in_coordinator && xid_name::decode(prepared.name, &xid) && xid.get_my_xid() != 0) ours.push_back(xid);
  }
  if (ours.empty()) return true;
  std::set<XID> theirs;
  if (!innodb_part::list_prepared(&theirs)) {
    log::error("cannot find out which transactions InnoDB has prepared, and " + std::to_string(ours.size()) +
               " of this engine's wait for that");
    return false;
  }
  for (const XID &xid : ours) {
    if (theirs.count(xid) == 0 && decide(xid, true) != XA_OK) return false;
  }
  return true;
}

void leave_tables_unlocked() { tables_stay_unlocked = true; }

void lock_tables() {
  if (!std::exchange(tables_stay_unlocked, false)) return;
  for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
    XID xid;
    if (!xid_name::decode(prepared.name, &xid) || xid.get_my_xid() != 0) continue;
    MEM_ROOT root(PSI_NOT_INSTRUMENTED, 1024);
    MDL_request_list requests;
    for (const std::string &path : dictionary::paths_of({prepared.indexes.begin(), prepared.indexes.end()})) {
      const size_t slash = path.find('/');
      if (slash == std::string::npos) continue;
      auto *request = new (&root) MDL_request;
      if (request == nullptr) return log::error("lock the tables of prepared transactions: out of memory");
      MDL_REQUEST_INIT(request, MDL_key::TABLE, dictionary::decoded_name(path.substr(0, slash)).c_str(),
                       dictionary::decoded_name(path.substr(slash + 1)).c_str(), MDL_SHARED_WRITE, MDL_TRANSACTION);
      requests.push_front(request);
    }
    MDL_context_backup_manager &locks = MDL_context_backup_manager::instance();
    locks.delete_backup(xid.key(), xid.key_length());
    if (locks.create_backup(&requests, xid.key(), xid.key_length())) log::error("lock the tables of a prepared transaction");
  }
}

void install_hooks(handlerton *handlerton) {
  handlerton->recover = recover;
  handlerton->recover_prepared_in_tc = recover_prepared_in_tc;
  handlerton->commit_by_xid = commit_by_xid;
  handlerton->rollback_by_xid = rollback_by_xid;
  handlerton->set_prepared_in_tc_by_xid = set_prepared_in_tc_by_xid;
  handlerton->flush_logs = flush_logs;
}

}  // namespace smartengine::xa
