#include "table/dictionary.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "sql/sql_table.h"

namespace smartengine::dictionary {

namespace {

std::mutex mutex;
std::unordered_map<uint64_t, std::shared_ptr<TableState>> tables;

constexpr size_t kTableKeySize = 13;

// u32 0 | 'T' | u64 table id
void table_key(uint64_t table_id, unsigned char *key) {
  store_be32(key, kDictionaryIndex);
  key[4] = 'T';
  store_be64(key + 5, table_id);
}

int apply(ffi::TxnHandle &txn, const ffi::WriteOp &op) { return ha_error(ffi::txn_apply(txn, {&op, 1}), nullptr); }

int damaged(uint64_t table_id, const std::string &why) {
  log::error("dictionary row of table " + std::to_string(table_id) + ": " + why);
  return HA_ERR_TABLE_CORRUPT;
}

int read(uint64_t table_id, TableDef *def) {
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  unsigned char key[kTableKeySize];
  table_key(table_id, key);
  ffi::Entry entry{};
  const ffi::Status status = ffi::reader_get(*reader, *txn, {key, sizeof(key)}, {ffi::LockMode::None, ffi::LockWait::Wait, 0}, entry);
  if (status.code == ffi::Code::NotFound) return HA_ERR_NO_SUCH_TABLE;
  if (!ok(status)) return ha_error(status, nullptr);
  std::string why;
  if (!TableDef::decode(slice(entry.value), def, &why)) return damaged(table_id, why);
  return 0;
}

}  // namespace

int replace(ffi::TxnHandle &txn, const TableDef &def) {
  ByteBuffer value;
  if (!def.encode(&value)) return HA_ERR_OUT_OF_MEM;
  unsigned char key[kTableKeySize];
  table_key(def.table_id, key);
  return apply(txn, {ffi::OpKind::Put, {key, sizeof(key)}, borrowed(value.slice())});
}

int put(ffi::TxnHandle &txn, const std::shared_ptr<TableState> &table) {
  const int error = replace(txn, table->def());
  if (error == 0) remember(table);
  return error;
}

std::string decoded_name(const std::string &name) {
  char text[NAME_LEN + 1];
  const size_t length = filename_to_tablename(name.c_str(), text, sizeof(text));
  return {text, length};
}

std::unordered_map<uint32_t, IndexName> index_names() {
  std::unordered_map<uint32_t, IndexName> names;
  names[kDictionaryIndex] = {"", "", "DICTIONARY"};
  const std::lock_guard<std::mutex> guard(mutex);
  for (const auto &[id, table] : tables) {
    const std::string &path = table->def().comment;
    const size_t slash = path.find('/');
    if (slash == std::string::npos) continue;
    const std::string schema = decoded_name(path.substr(0, slash));
    const std::string name = decoded_name(path.substr(slash + 1));
    for (const IndexDef &index : table->def().indexes) {
      names[index.index_id] = {schema, name, index.kind == IndexKind::kHiddenPrimary ? "GEN_CLUST_INDEX" : index.name};
    }
  }
  return names;
}

void remember(const std::shared_ptr<TableState> &table) {
  const std::lock_guard<std::mutex> guard(mutex);
  tables[table->id()] = table;
}

int remove(ffi::TxnHandle &txn, uint64_t table_id) {
  unsigned char key[kTableKeySize];
  table_key(table_id, key);
  ByteBuffer counter;
  if (!append_counter_key(table_id, &counter)) return HA_ERR_OUT_OF_MEM;
  const ffi::WriteOp ops[] = {{ffi::OpKind::Delete, {key, sizeof(key)}, borrowed({})},
                              {ffi::OpKind::Delete, borrowed(counter.slice()), borrowed({})}};
  return ha_error(ffi::txn_apply(txn, {ops, 2}), nullptr);
}

int find(uint64_t table_id, std::shared_ptr<TableState> *table) {
  const std::lock_guard<std::mutex> guard(mutex);
  const auto found = tables.find(table_id);
  if (found != tables.end()) {
    *table = found->second;
    return 0;
  }
  TableDef def;
  const int error = read(table_id, &def);
  if (error != 0) return error;
  *table = std::make_shared<TableState>(std::move(def), false);
  tables[table_id] = *table;
  return 0;
}

void note_visible(uint64_t table_id, uint64_t seq) {
  const std::lock_guard<std::mutex> guard(mutex);
  const auto found = tables.find(table_id);
  if (found != tables.end()) found->second->visible_from.store(seq, std::memory_order_release);
}

void forget(uint64_t table_id) {
  const std::lock_guard<std::mutex> guard(mutex);
  tables.erase(table_id);
}

void forget_all() {
  const std::lock_guard<std::mutex> guard(mutex);
  tables.clear();
}

namespace {

/// Calls `each` with every table's row, until it returns false; returns whether all were read. If not, the reason is logged.
template <typename Each>
bool for_each(Each each) {
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  ByteBuffer lower, upper;
  if (!all_tables_range(&lower, &upper)) return false;
  ffi::Status status =
      ffi::reader_open(*reader, *txn, bytes(lower.slice()), bytes(upper.slice()), {ffi::LockMode::None, ffi::LockWait::Wait, 0});
  ffi::Entry entry{};
  if (ok(status)) status = ffi::reader_seek(*reader, *txn, ffi::Seek::First, {}, entry);
  for (; ok(status); status = ffi::reader_next(*reader, *txn, entry)) {
    TableDef def;
    std::string why;
    if (!TableDef::decode(slice(entry.value), &def, &why)) {
      log::error("dictionary: " + why);
      return false;
    }
    each(def);
  }
  if (status.code == ffi::Code::NotFound) return true;
  log::error("read the dictionary: " + std::string(ffi::last_error()));
  return false;
}

}  // namespace

std::vector<std::string> paths_of(const std::vector<uint32_t> &indexes) {
  std::vector<std::string> paths;
  for_each([&](const TableDef &def) {
    const bool has = std::any_of(def.indexes.begin(), def.indexes.end(), [&](const IndexDef &index) {
      return std::find(indexes.begin(), indexes.end(), index.index_id) != indexes.end();
    });
    if (has) paths.push_back(def.comment);
  });
  return paths;
}

namespace {

/// Adds the indexes that rows of the dictionary name and those that prepared transactions write to; whether all were read.
bool add_named(std::vector<uint32_t> *named) {
  named->push_back(kDictionaryIndex);
  const bool complete = for_each([&](const TableDef &def) {
    for (const IndexDef &index : def.indexes) named->push_back(index.index_id);
  });
  for (const ffi::PreparedTransaction &prepared : ffi::engine_prepared(engine())) {
    named->insert(named->end(), prepared.indexes.begin(), prepared.indexes.end());
  }
  return complete;
}

}  // namespace

bool count_unnamed_indexes(uint32_t *count) {
  std::vector<uint32_t> named;
  if (!add_named(&named)) return false;
  {
    const std::lock_guard<std::mutex> guard(mutex);
    for (const auto &[id, table] : tables) {
      const std::vector<uint32_t> indexes = table->index_ids();
      named.insert(named.end(), indexes.begin(), indexes.end());
    }
  }
  return ok(ffi::engine_unnamed_indexes(engine(), {named.data(), named.size()}, *count));
}

void drop_unnamed_indexes() {
  std::vector<uint32_t> named;
  // Which indexes an unread row names is unknown: dropping what seems unnamed would lose its rows.
  if (!add_named(&named)) return log::error("indexes of dropped tables are kept");
  uint32_t dropped = 0;
  const ffi::Status status = ffi::engine_retain_indexes(engine(), {named.data(), named.size()}, dropped);
  if (!ok(status)) {
    log::error("drop indexes of dropped tables: " + std::string(ffi::last_error()));
  } else if (dropped != 0) {
    log::information("dropped " + std::to_string(dropped) + " indexes of tables that are gone");
  }
}

}  // namespace smartengine::dictionary
