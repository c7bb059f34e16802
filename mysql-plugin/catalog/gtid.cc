#include "catalog/gtid.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "compat.h"
#include "session/durability.h"
#include "session/locks_released.h"
#include "session/trx.h"
#include "sql/sql_lex.h"
#include "table/table_state.h"

namespace smartengine::catalog::gtid {

namespace {

constexpr unsigned char kTag = 'G';
constexpr unsigned char kEpochTag = 'N';
constexpr size_t kHeaderSize = 9;  // u32 index id, u8 tag, u32 epoch
constexpr size_t kFirstSize = 8;

/// Last by first, of one source.
using Intervals = std::map<uint64_t, uint64_t>;
using Set = std::map<std::string, Intervals>;

/// Held shared by commits, exclusively by whoever rewrites rows.
std::shared_mutex rows;
std::mutex mutex;
Set recorded;  ///< What is known to be in the log.
Set adopted;   ///< What it will be once an adoption is committed.
uint64_t epoch = 0;

bool append_header(unsigned char tag, uint32_t value, ByteBuffer *out) {
  unsigned char header[kHeaderSize];
  store_be32(header, kDictionaryIndex);
  header[4] = tag;
  store_be32(header + 5, value);
  return out->append(Slice{header, sizeof(header)});
}

bool row_key(const std::string &source, uint64_t first, ByteBuffer *key) {
  unsigned char number[kFirstSize];
  store_be64(number, first);
  return append_header(kTag, static_cast<uint32_t>(epoch), key) &&
         key->append(Slice{reinterpret_cast<const unsigned char *>(source.data()), source.size()}) && key->append_byte(0) &&
         key->append(Slice{number, sizeof(number)});
}

bool epoch_key(ByteBuffer *key) { return append_header(kEpochTag, 1, key); }

/// Adds [first, last] and joins intervals that meet.
void add(Intervals *intervals, uint64_t first, uint64_t last) {
  auto at = intervals->upper_bound(first);
  if (at != intervals->begin()) {
    const auto before = std::prev(at);
    if (before->second + 1 >= first) {
      first = before->first;
      last = std::max(last, before->second);
      at = before;
    }
  }
  while (at != intervals->end() && at->first <= last + 1) {
    last = std::max(last, at->second);
    at = intervals->erase(at);
  }
  (*intervals)[first] = last;
}

/// Reads `uuid[:tag]:n[-m]…` separated by commas; tags may follow each other after one uuid.
bool parse(const std::string &text, Set *set) {
  std::string clean;
  for (const char character : text) {
    if (!my_isspace(&my_charset_latin1, character)) clean.push_back(character);
  }
  size_t at = 0;
  while (at < clean.size()) {
    size_t end = std::min(clean.find(',', at), clean.size());
    const std::string one = clean.substr(at, end - at);
    at = end + 1;
    if (one.empty()) continue;
    size_t part = one.find(':');
    const std::string uuid = one.substr(0, part);
    std::string source = uuid;
    while (part != std::string::npos) {
      const size_t next = one.find(':', part + 1);
      const std::string word = one.substr(part + 1, next == std::string::npos ? next : next - part - 1);
      part = next;
      if (word.empty()) return false;
      if (!my_isdigit(&my_charset_latin1, word.front())) {
        source = uuid + ':' + word;
        continue;
      }
      char *rest = nullptr;
      const uint64_t first = strtoull(word.c_str(), &rest, 10);
      const uint64_t last = *rest == '-' ? strtoull(rest + 1, &rest, 10) : first;
      if (*rest != 0 || first == 0 || last < first) return false;
      add(&(*set)[source], first, last);
    }
  }
  return true;
}

int read_rows(const std::function<int(Slice, uint64_t)> &each) {
  ByteBuffer lower, upper;
  unsigned char bound[5];
  store_be32(bound, kDictionaryIndex);
  bound[4] = kTag;
  if (!lower.append(Slice{bound, sizeof(bound)})) return HA_ERR_OUT_OF_MEM;
  bound[4] = kTag + 1;
  if (!upper.append(Slice{bound, sizeof(bound)})) return HA_ERR_OUT_OF_MEM;
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  ffi::Entry row{};
  ffi::Status status =
      ffi::reader_open(*reader, *txn, bytes(lower.slice()), bytes(upper.slice()), {ffi::LockMode::None, ffi::LockWait::Wait, 0});
  if (ok(status)) status = ffi::reader_seek(*reader, *txn, ffi::Seek::First, {}, row);
  for (; ok(status); status = ffi::reader_next(*reader, *txn, row)) {
    if (row.value.size != 8) {
      log::error("catalog: an interval of GTIDs has " + std::to_string(row.value.size) + " bytes instead of 8");
      continue;
    }
    if (int error = each(slice(row.key), load_be64(row.value.data)); error != 0) return error;
  }
  return status.code == ffi::Code::NotFound ? 0 : ha_error(status, nullptr);
}

/// Whether all of `executed`, the text of gtid_executed, is in the store's set.
bool has(const std::string &executed) {
  Set wanted;
  if (!parse(executed, &wanted)) return true;
  const std::lock_guard<std::mutex> guard(mutex);
  for (const auto &[source, intervals] : wanted) {
    const auto found = recorded.find(source);
    if (found == recorded.end()) return false;
    // Rows that meet are one interval to the server.
    Intervals joined;
    for (const auto &[first, last] : found->second) add(&joined, first, last);
    for (const auto &[first, last] : intervals) {
      const auto after = joined.upper_bound(first);
      if (after == joined.begin() || std::prev(after)->second < last) return false;
    }
  }
  return true;
}

/// The store's set is empty from now on.
int empty() {
  const std::unique_lock<std::shared_mutex> lock(rows);
  Change change;
  int error = read_rows([&](Slice key, uint64_t) { return change.remove_row(key); });
  ByteBuffer key;
  if (error == 0 && !epoch_key(&key)) error = HA_ERR_OUT_OF_MEM;
  if (error == 0) error = change.raise(key.slice(), epoch + 1);
  if (error == 0) error = change.commit_quietly();
  if (error != 0) {
    log::error("catalog: GTIDs could not be reset: " + last_error_message());
    return error;
  }
  const std::lock_guard<std::mutex> guard(mutex);
  ++epoch;
  recorded.clear();
  return 0;
}

/// CHANGE REPLICATION SOURCE and RESET REPLICA reset the relay logs by the same function as the binary log: that removes no GTIDs.
bool resets_binary_log(const THD *thd) { return thd->lex->sql_command == SQLCOM_RESET && (thd->lex->type & REFRESH_SOURCE) != 0; }

int binlog_func(handlerton *, THD *thd, enum_binlog_func function, void *) {
  // The server has its own set until the statement is done: what is captured meanwhile would bring it back.
  if (function != BFN_RESET_LOGS || !is_open() || !resets_binary_log(thd)) return 0;
  return guarded([&] { return locks_released::tell(thd, locks_released::kGtidsReset) ? 0 : kErrorRaised; });
}

}  // namespace

void install_hooks(handlerton *handlerton) { handlerton->binlog_func = binlog_func; }

void reset(THD *thd) {
  if (empty() == 0 && durability::wants_object(thd)) durability::acknowledge(thd, ffi::engine_log_end(engine()));
}

int load() {
  ByteBuffer key;
  if (!epoch_key(&key)) return HA_ERR_OUT_OF_MEM;
  const std::unique_lock<std::shared_mutex> lock(rows);
  const std::lock_guard<std::mutex> guard(mutex);
  recorded.clear();
  if (int error = ha_error(ffi::engine_counter(engine(), bytes(key.slice()), epoch), nullptr); error != 0) return error;
  return read_rows([&](Slice row, uint64_t last) {
    if (row.size < kHeaderSize + 1 + kFirstSize || load_be32(row.data + 5) != epoch) return 0;
    const std::string source(reinterpret_cast<const char *>(row.data) + kHeaderSize, row.size - kHeaderSize - 1 - kFirstSize);
    recorded[source][load_be64(row.data + row.size - kFirstSize)] = last;
    return 0;
  });
}

int commit_with(THD *thd, Trx &trx, const std::function<int()> &commit) {
  if (!owns_gtid(thd) || !trx.active() || !ffi::txn_has_writes(trx.txn())) return commit();
  const std::shared_lock<std::shared_mutex> lock(rows);
  const std::string source = owned_gtid_source(thd);
  const auto number = static_cast<uint64_t>(thd->owned_gtid.gno);
  uint64_t first = number;
  {
    const std::lock_guard<std::mutex> guard(mutex);
    const Intervals &intervals = recorded[source];
    const auto after = intervals.upper_bound(number);
    if (after != intervals.begin()) {
      const auto before = std::prev(after);
      if (before->second >= number) return commit();
      if (before->second + 1 == number) first = before->first;
    }
  }
  ByteBuffer key;
  if (!row_key(source, first, &key)) return HA_ERR_OUT_OF_MEM;
  int error = ha_error(ffi::txn_raise_counter(trx.txn(), bytes(key.slice()), number), nullptr);
  if (error != 0) return error;
  error = commit();
  if (error != 0) return error;
  // Not joined with an interval that it meets: that is another row.
  const std::lock_guard<std::mutex> guard(mutex);
  uint64_t &last = recorded[source][first];
  last = std::max(last, number);
  return 0;
}

namespace {

int add_to_store(Adoption &adoption, const std::string &gtids) {
  Change change;
  int error = adoption.add(change, gtids);
  if (error == 0) error = change.commit_quietly();
  if (error == 0) adoption.done();
  return error;
}

}  // namespace

int record(const std::string &gtid) {
  Adoption adoption;
  return add_to_store(adoption, gtid);
}

int keep() {
  if (has(executed_gtids())) return 0;
  Adoption adoption;
  return add_to_store(adoption, executed_gtids());
}

Adoption::Adoption() : m_lock(rows) {}

int Adoption::add(Change &change, const std::string &executed) {
  Set wanted;
  if (!parse(executed, &wanted)) return own_error(kErrorInternal, "gtid_executed is no set of GTIDs: " + executed);
  const std::lock_guard<std::mutex> guard(mutex);
  for (const auto &[source, intervals] : recorded) {
    for (const auto &[first, last] : intervals) gtid::add(&wanted[source], first, last);
  }
  for (const auto &[source, intervals] : recorded) {
    for (const auto &[first, last] : intervals) {
      if (wanted[source].count(first) != 0) continue;
      ByteBuffer key;
      if (!row_key(source, first, &key)) return HA_ERR_OUT_OF_MEM;
      if (int error = change.remove_row(key.slice()); error != 0) return error;
    }
  }
  for (const auto &[source, intervals] : wanted) {
    const Intervals &old = recorded[source];
    for (const auto &[first, last] : intervals) {
      const auto found = old.find(first);
      if (found != old.end() && found->second == last) continue;
      ByteBuffer key;
      if (!row_key(source, first, &key)) return HA_ERR_OUT_OF_MEM;
      if (int error = change.raise(key.slice(), last); error != 0) return error;
    }
  }
  adopted = std::move(wanted);
  m_added = true;
  return 0;
}

void Adoption::done() {
  if (!m_added) return;
  const std::lock_guard<std::mutex> guard(mutex);
  recorded = std::move(adopted);
}

std::string text() {
  const std::lock_guard<std::mutex> guard(mutex);
  std::string result;
  for (const auto &[source, intervals] : recorded) {
    if (intervals.empty()) continue;
    result += (result.empty() ? "" : ",") + source;
    for (const auto &[first, last] : intervals) {
      result += ':' + std::to_string(first);
      if (last != first) result += '-' + std::to_string(last);
    }
  }
  return result;
}

}  // namespace smartengine::catalog::gtid
