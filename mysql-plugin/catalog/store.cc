#include "catalog/store.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "catalog/disk.h"
#include "compat.h"
#include "session/trx.h"
#include "table/table_state.h"

namespace smartengine::catalog {

namespace {

constexpr uint32_t kOldestVersion = 80035;
constexpr uint32_t kLaterVersion = 990000;
constexpr ffi::ReadSpec kPlainRead{ffi::LockMode::None, ffi::LockWait::Wait, 0};

int encoded(const Entry &entry, ByteBuffer *key, ByteBuffer *value) {
  return append_key(entry.name, key) && encode(entry, value) ? 0 : HA_ERR_TOO_BIG_ROW;
}

/// The next generation, kept on this server's disk before it is anywhere else, is to be that of the transaction's commit. Before anything that this
/// server writes is in the catalog, the store says that a server of its version has written to it.
int raise_generation(ffi::TxnHandle &txn) {
  if (!failpoint("catalog.no_version")) {
    if (int error = ha_error(ffi::engine_raise_server_version(engine(), written_version()), nullptr); error != 0) return error;
  }
  uint64_t next = 0;
  if (int error = generation(&next); error != 0) return error;
  if (int error = disk::advance(next + 1, &next); error != 0) return error;
  ByteBuffer key;
  if (!append_generation_key(&key)) return HA_ERR_OUT_OF_MEM;
  return ha_error(ffi::txn_raise_counter(txn, bytes(key.slice()), next), nullptr);
}

/// A transaction needs one new generation, however much it changes.
int raise_generation(Trx &trx) {
  if (trx.has_generation()) return 0;
  const int error = raise_generation(trx.txn());
  if (error == 0) trx.set_has_generation();
  return error;
}

int read(ffi::TxnHandle &txn, const Name &name, std::optional<Entry> *found) {
  found->reset();
  ByteBuffer key;
  if (!append_key(name, &key)) return 0;
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  ffi::Entry row{};
  const ffi::Status status = ffi::reader_get(*reader, txn, bytes(key.slice()), kPlainRead, row);
  if (status.code == ffi::Code::NotFound) return 0;
  if (!ok(status)) return ha_error(status, nullptr);
  Entry entry;
  std::string why;
  if (!decode(key.slice(), slice(row.value), &entry, &why)) {
    log::error("catalog: " + describe(name) + ": " + why);
    return HA_ERR_TABLE_CORRUPT;
  }
  *found = std::move(entry);
  return 0;
}

}  // namespace

Change::Change() : m_txn(ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted)) {}

Change::~Change() {
  if (!m_ended) ffi::txn_rollback(*m_txn);
}

int Change::apply(const ffi::WriteOp &op) {
  m_empty = false;
  return ha_error(ffi::txn_apply(*m_txn, {&op, 1}), nullptr);
}

int Change::put(const Entry &entry) {
  ByteBuffer key, value;
  if (int error = encoded(entry, &key, &value); error != 0) return error;
  return apply({ffi::OpKind::Put, borrowed(key.slice()), borrowed(value.slice())});
}

int Change::remove(const Name &name) {
  ByteBuffer key;
  return append_key(name, &key) ? remove_row(key.slice()) : HA_ERR_OUT_OF_MEM;
}

int Change::remove_row(Slice key) { return apply({ffi::OpKind::Delete, borrowed(key), borrowed({})}); }

int Change::raise(Slice key, uint64_t value) {
  m_empty = false;
  return ha_error(ffi::txn_raise_counter(*m_txn, bytes(key), value), nullptr);
}

int Change::commit() {
  if (m_empty) return 0;
  if (int error = raise_generation(*m_txn); error != 0) return error;
  return commit_quietly();
}

int Change::commit_quietly() {
  if (m_empty) return 0;
  m_ended = true;
  return ha_error(ffi::txn_commit(*m_txn, true), nullptr);
}

int put(Trx &trx, const Entry &entry) {
  ByteBuffer key, value;
  if (int error = encoded(entry, &key, &value); error != 0) return error;
  if (int error = raise_generation(trx); error != 0) return error;
  const ffi::WriteOp op{ffi::OpKind::Put, borrowed(key.slice()), borrowed(value.slice())};
  return ha_error(ffi::txn_apply(trx.txn(), {&op, 1}), nullptr);
}

int remove(Trx &trx, const Name &name) {
  ByteBuffer key;
  if (!append_key(name, &key)) return HA_ERR_OUT_OF_MEM;
  if (int error = raise_generation(trx); error != 0) return error;
  const ffi::WriteOp op{ffi::OpKind::Delete, borrowed(key.slice()), borrowed({})};
  return ha_error(ffi::txn_apply(trx.txn(), {&op, 1}), nullptr);
}

int find(Trx &trx, const Name &name, std::optional<Entry> *entry) { return read(trx.txn(), name, entry); }

int find(const Name &name, std::optional<Entry> *entry) {
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  return read(*txn, name, entry);
}

std::vector<Entry> all(Kind kind, const std::string &schema, std::set<Name> *unreadable) {
  const auto give_up = [](const std::string &why) { throw std::runtime_error("the store's definitions cannot be read: " + why); };
  ByteBuffer lower, upper;
  if (!kind_range(kind, schema, &lower, &upper)) give_up("out of memory");
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  ffi::Entry row{};
  ffi::Status status = ffi::reader_open(*reader, *txn, bytes(lower.slice()), bytes(upper.slice()), kPlainRead);
  if (ok(status)) status = ffi::reader_seek(*reader, *txn, ffi::Seek::First, {}, row);
  std::vector<Entry> entries;
  for (; ok(status); status = ffi::reader_next(*reader, *txn, row)) {
    if (failpoint("catalog.read_entry")) give_up("failure point catalog.read_entry");
    Entry entry;
    std::string why;
    if (decode(slice(row.key), slice(row.value), &entry, &why)) {
      entries.push_back(std::move(entry));
      continue;
    }
    if (entry.name.kind != kind) give_up(why);
    log::error("catalog: " + describe(entry.name) + ": " + why);
    if (unreadable != nullptr) unreadable->insert(entry.name);
  }
  if (status.code != ffi::Code::NotFound) {
    ha_error(status, nullptr);
    give_up(last_error_message());
  }
  return entries;
}

int generation(uint64_t *value) {
  ByteBuffer key;
  if (!append_generation_key(&key)) return HA_ERR_OUT_OF_MEM;
  return ha_error(ffi::engine_counter(engine(), bytes(key.slice()), *value), nullptr);
}

uint32_t written_version() {
  if (failpoint("catalog.written_by_8_0")) return kOldestVersion;
  return failpoint("catalog.written_by_99_0") ? kLaterVersion : MYSQL_VERSION_ID;
}

bool takes_this_server() {
  // The engine's open has asked where the store says it.
  if (ffi::engine_server_version(engine()) != 0) return true;
  uint32_t highest = 0;
  std::set<Name> unreadable;
  try {
    for (auto kind = static_cast<uint8_t>(Kind::kMeta); kind <= static_cast<uint8_t>(Kind::kAccount); ++kind) {
      for (const Entry &entry : all(static_cast<Kind>(kind), {}, &unreadable)) highest = std::max(highest, entry.server_version);
    }
  } catch (const std::exception &exception) {
    log::error(std::string("cannot start: ") + exception.what());
    return false;
  }
  if (!unreadable.empty()) {
    const std::string count = std::to_string(unreadable.size());
    log::error("cannot start: " +
               ("which servers may use the store is said by its definitions alone, and " + count + " of them cannot be read"));
    return false;
  }
  const std::string why(ffi::server_version_refusal(highest, MYSQL_VERSION_ID, kNewestServerVersion));
  if (!why.empty()) log::error("cannot start: " + why);
  return why.empty();
}

bool failpoint(const char *name) { return !ok(ffi::failpoint(rust::Str(name, strlen(name)))); }

}  // namespace smartengine::catalog
