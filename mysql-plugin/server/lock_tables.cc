#include "server/lock_tables.h"

#include <string>

#include "base/engine.h"
#include "compat.h"
#include "server/schema_table.h"
#include "sql/auth/auth_acls.h"
#include "sql/auth/auth_common.h"
#include "sql/mysqld_thd_manager.h"
#include "sql/sql_show.h"
#include "table/dictionary.h"

namespace smartengine::lock_tables {

using namespace schema_table;

/// How many bytes of a key are shown.
static constexpr size_t kMostKeyBytes = 128;

std::string key_text(const rust::Vec<uint8_t> &key) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string hex;
  for (size_t i = kIndexIdSize; i < std::min(key.size(), kIndexIdSize + kMostKeyBytes); ++i) {
    hex.push_back(digits[key[i] >> 4]);
    hex.push_back(digits[key[i] & 15]);
  }
  return hex;
}

uint32_t index_of(const rust::Vec<uint8_t> &key) { return key.size() < kIndexIdSize ? 0 : load_be32(key.data()); }

const char *mode_name(const ffi::LockRow &lock) {
  switch (lock.kind) {
    case ffi::LockKind::Gap:
      return "GAP";
    case ffi::LockKind::Insertion:
      return "X,INSERT_INTENTION";
    default:
      return lock.mode == ffi::LockMode::Shared ? "S" : "X";
  }
}

namespace {

/// How many locks a table shows at most.
constexpr uint64_t kMostLocks = 100'000;
/// How many bytes of a statement are shown.
constexpr size_t kMostQueryBytes = 1024;

ST_FIELD_INFO trx_fields[] = {number("TRX_ID"),
                              text("TRX_STATE", 13),
                              time("TRX_STARTED"),
                              time("TRX_WAIT_STARTED", true),
                              number("TRX_WEIGHT"),
                              number("TRX_MYSQL_THREAD_ID"),
                              text("TRX_QUERY", kMostQueryBytes, true),
                              number("TRX_ROWS_LOCKED"),
                              number("TRX_ROWS_MODIFIED"),
                              number("TRX_MEMORY_BYTES"),
                              text("TRX_ISOLATION_LEVEL", 16),
                              end()};

ST_FIELD_INFO lock_fields[] = {number("LOCK_TRX_ID"),
                               text("LOCK_MODE", 18),
                               text("LOCK_STATUS", 8),
                               text("TABLE_SCHEMA", NAME_CHAR_LEN, true),
                               text("TABLE_NAME", NAME_CHAR_LEN, true),
                               text("INDEX_NAME", NAME_CHAR_LEN, true),
                               number("INDEX_ID"),
                               text("LOCK_KEY", 2 * kMostKeyBytes),
                               text("LOCK_KEY_END", 2 * kMostKeyBytes, true),
                               text("BLOCKING_TRX_IDS", 1024, true),
                               end()};

const char *isolation_name(ffi::Isolation isolation) {
  switch (isolation) {
    case ffi::Isolation::ReadUncommitted:
      return "READ UNCOMMITTED";
    case ffi::Isolation::ReadCommitted:
      return "READ COMMITTED";
    case ffi::Isolation::Serializable:
      return "SERIALIZABLE";
    default:
      return "REPEATABLE READ";
  }
}

bool query_of(uint64_t thread_id, std::string *query) {
  Find_thd_with_id find(static_cast<my_thread_id>(thread_id));
  THD_ptr session = Global_THD_manager::get_instance()->find_thd(&find);
  if (!session) return false;
  mysql_mutex_lock(&session->LOCK_thd_query);
  const LEX_CSTRING text = session->query();
  const bool found = text.str != nullptr;
  if (found) query->assign(text.str, std::min(text.length, kMostQueryBytes));
  mysql_mutex_unlock(&session->LOCK_thd_query);
  return found;
}

int fill_trx(THD *thd, Table_ref *tables, Item *) {
  if (check_global_access(thd, PROCESS_ACL)) return 1;
  if (!is_open()) return 0;
  for (const ffi::TransactionRow &trx : ffi::engine_transactions(engine())) {
    Row row(tables->table);
    row.add(trx.id).add(trx.waiting_since != 0 ? "LOCK WAIT" : "RUNNING").add_time(thd, trx.started);
    if (trx.waiting_since != 0)
      row.add_time(thd, trx.waiting_since);
    else
      row.add_null();
    row.add(trx.locks + trx.writes).add(trx.label);
    std::string query;
    if (trx.label != 0 && query_of(trx.label, &query))
      row.add(query);
    else
      row.add_null();
    row.add(trx.locks).add(trx.writes).add(trx.memory).add(isolation_name(trx.isolation));
    if (schema_table_store_record(thd, tables->table)) return 1;
  }
  return 0;
}

int fill_locks(THD *thd, Table_ref *tables, Item *) {
  if (check_global_access(thd, PROCESS_ACL)) return 1;
  if (!is_open()) return 0;
  const auto names = dictionary::index_names();
  for (const ffi::LockRow &lock : ffi::engine_locks(engine(), kMostLocks)) {
    const uint32_t index = index_of(lock.key);
    Row row(tables->table);
    row.add(lock.txn).add(mode_name(lock)).add(lock.blocked_by.empty() ? "GRANTED" : "WAITING");
    const auto name = names.find(index);
    if (name == names.end())
      row.add_null().add_null().add_null();
    else
      row.add(name->second.schema).add(name->second.table).add(name->second.index);
    row.add(index).add(key_text(lock.key));
    // A gap that ends where the next index begins has no key at its end.
    if (lock.kind == ffi::LockKind::Gap && index_of(lock.end) == index)
      row.add(key_text(lock.end));
    else
      row.add_null();
    std::string blockers;
    for (const uint64_t blocker : lock.blocked_by) blockers += (blockers.empty() ? "" : ",") + std::to_string(blocker);
    if (blockers.empty())
      row.add_null();
    else
      row.add(blockers);
    if (schema_table_store_record(thd, tables->table)) return 1;
  }
  return 0;
}

}  // namespace

int init_trx(void *table) {
  auto *schema = static_cast<ST_SCHEMA_TABLE *>(table);
  schema->fields_info = trx_fields;
  schema->fill_table = fill_trx;
  return 0;
}

int init_locks(void *table) {
  auto *schema = static_cast<ST_SCHEMA_TABLE *>(table);
  schema->fields_info = lock_fields;
  schema->fill_table = fill_locks;
  return 0;
}

}  // namespace smartengine::lock_tables
