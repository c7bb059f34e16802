#include "base/error_map.h"
#include "handler/ha_smartengine.h"
#include "mysql/plugin.h"
#include "sql/item.h"

// A search key of the server becomes a prefix of the engine's keys: the entries that equal it start with exactly these
// bytes. Every way of searching is then a seek to the prefix or to its successor. An exact search reads within the
// prefix; should the server go on past it (HANDLER, backward scans), the scan is opened again over the whole index.

namespace smartengine {

namespace {

constexpr uint32_t kKillCheckInterval = 1024;

int not_found(int error) { return error == HA_ERR_END_OF_FILE ? HA_ERR_KEY_NOT_FOUND : error; }

int no_successor() { return own_error(kErrorInternal, "a search key without end"); }

bool starts_with(Slice key, Slice prefix) { return key.size >= prefix.size && Slice{key.data, prefix.size} == prefix; }

}  // namespace

/// Whether the server left a condition to this index.
bool ha_smartengine::is_filtered(const IndexCodec &index) const {
  return pushed_idx_cond != nullptr && &codec().index(pushed_idx_cond_keyno) == &index;
}

ha_smartengine::Access ha_smartengine::access_of(const IndexCodec &index) const {
  if (index.is_row_index()) return Access::kRow;
  // A locking read acts on the newest row, so it cannot answer from an entry alone.
  if (m_lock != ffi::LockMode::None) return Access::kThrough;
  if (m_keyread && !ffi::txn_saw_newer(m_trx->txn()) && index.covers(*table->read_set)) return Access::kCovering;
  if (is_filtered(index)) return Access::kFiltered;
  return Access::kThrough;
}

int ha_smartengine::search_prefix(const IndexCodec &index, const uchar *key, key_part_map parts, ByteBuffer *prefix, bool *clipped) const {
  const key_part_map own = make_prev_keypart_map(index.parts().size());
  // The entries of a unique index do not go on with the primary key, so parts of it are compared with the row.
  *clipped = index.kind() == IndexKind::kUnique && (parts & ~own) != 0;
  return index.encode_search(key, *clipped ? parts & own : parts, prefix);
}

void ha_smartengine::close_scan() {
  if (m_scan && m_place != Place::kNone) ffi::reader_close(**m_scan);
  m_place = Place::kNone;
  m_entry.unlocked = false;
}

/// Only for a scan of the rows themselves; entries of other indexes are waited for, as InnoDB does.
ffi::ReadSpec ha_smartengine::scan_spec(uint32_t row_index) const {
  ffi::ReadSpec spec = this->spec(row_index);
  if (m_try_semi_consistent && m_index != nullptr && m_index->is_row_index() && spec.wait == ffi::LockWait::Wait)
    spec.wait = ffi::LockWait::SemiConsistent;
  return spec;
}

int ha_smartengine::open_scan(Slice lower, Slice upper) {
  if (!m_scan) m_scan.emplace(ffi::reader_create(engine()));
  m_access = access_of(*m_index);
  const uint32_t row_index = m_access == Access::kThrough ? codec().row_index().index_id() : 0;
  const ffi::Status status = ffi::reader_open(**m_scan, txn(), bytes(lower), bytes(upper), scan_spec(row_index));
  if (!ok(status)) return failed(status);
  m_place = Place::kOpened;
  m_scan_txn = m_trx->id();
  return 0;
}

/// Opens a scan of the search prefix, or of the index as far as the server's end of range allows. (Backward scans have
/// one too, but whether `end_range` is theirs is the base class's secret; they are cut off by the server, and in
/// `take`.)
int ha_smartengine::open_index_scan(bool prefix_only, bool forward) {
  m_prefix_only = prefix_only;
  if (prefix_only) {
    if (!m_upper.assign(m_prefix.slice())) return HA_ERR_OUT_OF_MEM;
    if (!prefix_successor(&m_upper)) return no_successor();
    return open_scan(m_prefix.slice(), m_upper.slice());
  }
  int error = m_index->range(&m_lower, &m_upper);
  if (error != 0) return error;
  if (forward && end_range != nullptr) {
    bool clipped = false;
    error = search_prefix(*m_index, end_range->key, end_range->keypart_map, &m_upper, &clipped);
    if (error != 0) return error;
    if ((end_range->flag != HA_READ_BEFORE_KEY || clipped) && !prefix_successor(&m_upper)) return no_successor();
    if (compare(m_lower.slice(), m_upper.slice()) > 0 && !m_upper.assign(m_lower.slice())) return HA_ERR_OUT_OF_MEM;
  }
  return open_scan(m_lower.slice(), m_upper.slice());
}

int ha_smartengine::decode_row(Slice row_key, Slice row, uchar *record) {
  if (codec().has_hidden_row_id() && !TableCodec::hidden_row_id_of_key(row_key, &m_row_id)) return damaged("row key", HA_ERR_TABLE_CORRUPT);
  // From an index that it calls covering, the server expects the virtual columns too, although it has not asked for
  // what they are made of.
  const bool with_virtual = m_keyread && table->vfield != nullptr;
  const bool all = m_read_all_columns || with_virtual || m_lock == ffi::LockMode::Exclusive || may_be_stale();
  const MY_BITMAP *wanted = all ? nullptr : table->read_set;
  const int error = codec().row().decode(row, wanted, record);
  if (error != 0) return damaged("row", error);
  if (with_virtual && update_generated_read_fields(record, table, MAX_KEY)) return HA_ERR_GENERIC;
  ++m_counts.read;
  return 0;
}

/// Whether the entry just read comes from the snapshot and its row from the transaction itself, with a change of another
/// transaction's between the two.
bool ha_smartengine::may_be_stale() const { return m_entry.own_row && ffi::txn_saw_newer(m_trx->txn()); }

/// Computes all virtual columns of a record of which every other column was read. The server does it only for what it has asked for, and once it has
/// the row.
int ha_smartengine::make_virtual_columns(uchar *record) {
  if (table->vfield == nullptr) return 0;
  MY_BITMAP *const wanted = table->read_set;
  table->read_set = &table_share->all_set;
  const bool failed = update_generated_read_fields(record, table, MAX_KEY);
  table->read_set = wanted;
  return !failed ? 0 : ha_thd()->is_error() ? kErrorRaised : HA_ERR_GENERIC;
}

/// Whether the entry just read leads to a row that has another entry in this index now.
int ha_smartengine::check_stale(uchar *record, bool *stale) {
  *stale = false;
  if (!may_be_stale()) return 0;
  if (const int error = make_virtual_columns(record); error != 0) return error;
  const Slice row_key = slice(m_entry.row_key);
  IndexEntry entry;
  const int error =
      m_index->encode_entry(record, {row_key.data + kIndexIdSize, row_key.size - kIndexIdSize}, &entry.key, &entry.value, &entry.unique);
  if (error != 0) return error;
  *stale = entry.key.slice() != slice(m_entry.key);
  return 0;
}

bool ha_smartengine::interrupted() { return thd_killed(ha_thd()) != 0; }

/// Turns what a read returned into a record; passes over entries that the pushed condition rejects.
int ha_smartengine::take(ffi::Status status, bool forward, uchar *record) {
  uint32_t rejected = 0;
  for (;; status = forward ? ffi::reader_next(**m_scan, txn(), m_entry) : ffi::reader_prev(**m_scan, txn(), m_entry)) {
    if (!ok(status)) return failed(status);
    // Whether the row has left the entry: then the record is not the entry's, or there is none.
    bool stale = false;
    switch (m_access) {
      case Access::kRow:
        return decode_row(slice(m_entry.key), slice(m_entry.value), record);
      case Access::kThrough: {
        int error = decode_row(slice(m_entry.row_key), slice(m_entry.row), record);
        if (error == 0) error = check_stale(record, &stale);
        if (error != 0) return error;
        if (stale) break;
        if (!is_filtered(*m_index)) return 0;
        // A locking read tries the condition on the newest row.
        if (pushed_idx_cond->val_int() != 0) return ha_thd()->is_error() ? kErrorRaised : 0;
        unlock_row();
        break;
      }
      case Access::kCovering: {
        const int error = m_index->decode_entry(slice(m_entry.key), slice(m_entry.value), table->read_set, record);
        if (error != 0) return damaged("index entry", error);
        // position() may follow.
        if (codec().has_hidden_row_id() && !TableCodec::hidden_row_id_of_entry(slice(m_entry.key), slice(m_entry.value), &m_row_id)) {
          return damaged("row key", HA_ERR_TABLE_CORRUPT);
        }
        ++m_counts.read;
        return 0;
      }
      case Access::kFiltered: {
        const int error = m_index->decode_entry(slice(m_entry.key), slice(m_entry.value), nullptr, record);
        if (error != 0) return damaged("index entry", error);
        if (pushed_idx_cond->val_int() != 0) {
          if (ha_thd()->is_error()) return kErrorRaised;
          const ffi::Status fetched = ffi::reader_fetch_row(**m_scan, txn(), spec(codec().row_index().index_id()), m_entry);
          stale = fetched.code == ffi::Code::NotFound;
          if (stale) break;
          if (!ok(fetched)) return failed(fetched);
          int failure = decode_row(slice(m_entry.row_key), slice(m_entry.row), record);
          if (failure == 0) failure = check_stale(record, &stale);
          if (failure != 0 || !stale) return failure;
        }
        break;
      }
    }
    // The entry was rejected.
    if (ha_thd()->is_error()) return kErrorRaised;
    if (m_place == Place::kPoint) return HA_ERR_END_OF_FILE;
    if (!forward && !stale && compare_key_icp(end_range) > 0) return HA_ERR_END_OF_FILE;
    if (++rejected % kKillCheckInterval == 0 && interrupted()) return HA_ERR_QUERY_INTERRUPTED;
  }
}

int ha_smartengine::seek(ffi::Seek where, Slice key, bool forward, uchar *record) {
  m_place = Place::kScan;
  return take(ffi::reader_seek(**m_scan, txn(), where, bytes(key), m_entry), forward, record);
}

int ha_smartengine::resume(bool forward, uchar *record) {
  if (!m_target.assign(slice(m_entry.key))) return HA_ERR_OUT_OF_MEM;
  if (m_prefix_only && m_place == Place::kScan && m_scan_txn == m_trx->id()) {
    if (!m_target.assign(m_prefix.slice())) return HA_ERR_OUT_OF_MEM;
    if (forward && !prefix_successor(&m_target)) return no_successor();
  } else if (forward && !m_target.append_byte(0)) {
    return HA_ERR_OUT_OF_MEM;
  }
  close_scan();
  const int error = open_index_scan(false, forward);
  if (error != 0) return error;
  return seek(forward ? ffi::Seek::AtOrAfter : ffi::Seek::Before, m_target.slice(), forward, record);
}

int ha_smartengine::step(bool forward, uchar *record) {
  int error = enter();
  if (error != 0) return error;
  if (m_place == Place::kNone) return HA_ERR_END_OF_FILE;
  if (m_place == Place::kOpened) return seek(forward ? ffi::Seek::First : ffi::Seek::Last, {}, forward, record);
  if (m_place == Place::kPoint || m_scan_txn != m_trx->id()) return resume(forward, record);
  const ffi::Status status = forward ? ffi::reader_next(**m_scan, txn(), m_entry) : ffi::reader_prev(**m_scan, txn(), m_entry);
  return take(status, forward, record);
}

int ha_smartengine::index_init(uint key_number, bool) {
  close_scan();
  active_index = key_number;
  m_index = &codec().index(key_number);
  return check_snapshot();
}

int ha_smartengine::index_end() {
  close_scan();
  active_index = MAX_KEY;
  m_index = nullptr;
  return 0;
}

/// The one entry of a unique index, without a scan.
int ha_smartengine::read_point(uchar *record) {
  if (!m_scan) m_scan.emplace(ffi::reader_create(engine()));
  close_scan();
  m_access = access_of(*m_index);
  const uint32_t row_index = m_access == Access::kThrough ? codec().row_index().index_id() : 0;
  m_place = Place::kPoint;
  m_scan_txn = m_trx->id();
  m_prefix_only = false;
  return take(ffi::reader_get(**m_scan, txn(), bytes(m_prefix.slice()), spec(row_index), m_entry), true, record);
}

/// A search in a unique index by more than its own columns: from the entries that these find, in the direction of the
/// search, to the first whose row fits with the rest too. The server counts on it: it searches after the key that it was
/// given last to go on to the next one.
int ha_smartengine::read_clipped(uchar *record, const uchar *key, key_part_map parts, ha_rkey_function find) {
  close_scan();
  const bool exact = find == HA_READ_KEY_EXACT || find == HA_READ_PREFIX || find == HA_READ_PREFIX_LAST;
  const bool forward = find == HA_READ_KEY_EXACT || find == HA_READ_PREFIX || find == HA_READ_KEY_OR_NEXT || find == HA_READ_AFTER_KEY;
  m_clipped = exact;
  int error = open_index_scan(exact, forward);
  if (error != 0) return error;
  if (!m_target.assign(m_prefix.slice())) return HA_ERR_OUT_OF_MEM;
  if (!forward && !prefix_successor(&m_target)) return no_successor();
  const uint length = calculate_key_len(table, active_index, parts);
  const auto fits = [&] {
    const int order = compare_record_with_key(table->key_info[active_index].key_part, key, length);
    switch (find) {
      case HA_READ_KEY_OR_NEXT:
        return order >= 0;
      case HA_READ_AFTER_KEY:
        return order > 0;
      case HA_READ_BEFORE_KEY:
        return order < 0;
      case HA_READ_KEY_OR_PREV:
      case HA_READ_PREFIX_LAST_OR_PREV:
        return order <= 0;
      default:
        return order == 0;
    }
  };
  error = seek(forward ? ffi::Seek::AtOrAfter : ffi::Seek::Before, m_target.slice(), forward, record);
  while (error == 0 && !fits()) error = step(forward, record);
  return not_found(error);
}

int ha_smartengine::index_read_map(uchar *record, const uchar *key, key_part_map parts, ha_rkey_function find) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_read_key_count);
    int error = enter();
    if (error != 0) return error;
    if (parts == HA_WHOLE_KEY) parts = make_prev_keypart_map(m_index->parts().size());
    bool clipped = false;
    error = search_prefix(*m_index, key, parts, &m_prefix, &clipped);
    if (error != 0) return error;
    if (clipped) return read_clipped(record, key, parts, find);
    m_clipped = false;

    if (find == HA_READ_KEY_EXACT && m_index->kind() != IndexKind::kSecondary && m_index->is_full_key(parts) &&
        access_of(*m_index) != Access::kFiltered && !m_index->image_has_null(key, parts)) {
      return not_found(read_point(record));
    }
    close_scan();
    const bool exact = find == HA_READ_KEY_EXACT || find == HA_READ_PREFIX || find == HA_READ_PREFIX_LAST;
    error = open_index_scan(exact, find == HA_READ_KEY_OR_NEXT || find == HA_READ_AFTER_KEY);
    if (error != 0) return error;
    if (!m_target.assign(m_prefix.slice())) return HA_ERR_OUT_OF_MEM;
    switch (find) {
      case HA_READ_KEY_EXACT:
      case HA_READ_PREFIX:
        return not_found(seek(ffi::Seek::First, {}, true, record));
      case HA_READ_PREFIX_LAST:
        return not_found(seek(ffi::Seek::Last, {}, false, record));
      case HA_READ_KEY_OR_NEXT:
        return not_found(seek(ffi::Seek::AtOrAfter, m_target.slice(), true, record));
      case HA_READ_AFTER_KEY:
        if (!prefix_successor(&m_target)) return no_successor();
        return not_found(seek(ffi::Seek::AtOrAfter, m_target.slice(), true, record));
      case HA_READ_KEY_OR_PREV:
      case HA_READ_PREFIX_LAST_OR_PREV:
        if (!prefix_successor(&m_target)) return no_successor();
        return not_found(seek(ffi::Seek::Before, m_target.slice(), false, record));
      case HA_READ_BEFORE_KEY:
        return not_found(seek(ffi::Seek::Before, m_target.slice(), false, record));
      default:
        return HA_ERR_WRONG_COMMAND;
    }
  });
}

int ha_smartengine::index_read_last_map(uchar *record, const uchar *key, key_part_map parts) {
  return index_read_map(record, key, parts, HA_READ_PREFIX_LAST);
}

int ha_smartengine::index_next(uchar *record) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_read_next_count);
    const int error = step(true, record);
    return error == HA_ERR_END_OF_FILE && m_prefix_only ? resume(true, record) : error;
  });
}

int ha_smartengine::index_prev(uchar *record) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_read_prev_count);
    const int error = step(false, record);
    return error == HA_ERR_END_OF_FILE && m_prefix_only ? resume(false, record) : error;
  });
}

int ha_smartengine::index_next_same(uchar *record, const uchar *key, uint length) {
  return guarded([&] {
    // A point read has found the only entry.
    if (m_place == Place::kPoint) return HA_ERR_END_OF_FILE;
    if (!m_prefix_only || m_clipped) return handler::index_next_same(record, key, length);
    ha_statistic_increment(&System_status_var::ha_read_next_count);
    const int error = step(true, record);
    return error == 0 && !starts_with(slice(m_entry.key), m_prefix.slice()) ? HA_ERR_END_OF_FILE : error;
  });
}

void ha_smartengine::count_first() {
  ha_statistic_increment(&System_status_var::ha_read_first_count);
  ha_statistic_increment(&System_status_var::ha_read_key_count);
}

int ha_smartengine::index_first(uchar *record) {
  return guarded([&] {
    count_first();
    int error = enter();
    if (error != 0) return error;
    close_scan();
    error = open_index_scan(false, true);
    return error != 0 ? error : seek(ffi::Seek::First, {}, true, record);
  });
}

int ha_smartengine::index_last(uchar *record) {
  return guarded([&] {
    // It searches the index, and InnoDB counts that too.
    ha_statistic_increment(&System_status_var::ha_read_last_count);
    ha_statistic_increment(&System_status_var::ha_read_key_count);
    int error = enter();
    if (error != 0) return error;
    close_scan();
    error = open_index_scan(false, false);
    return error != 0 ? error : seek(ffi::Seek::Last, {}, false, record);
  });
}

int ha_smartengine::rnd_init(bool scan) {
  return guarded([&] {
    close_scan();
    m_index = nullptr;
    if (!scan) return 0;
    m_index = &codec().row_index();
    if (int error = check_snapshot(); error != 0) return error;
    int error = enter();
    if (error != 0) return error;
    error = m_index->range(&m_lower, &m_upper);
    if (error != 0) return error;
    m_prefix_only = false;
    return open_scan(m_lower.slice(), m_upper.slice());
  });
}

int ha_smartengine::rnd_end() {
  close_scan();
  m_index = nullptr;
  return 0;
}

int ha_smartengine::rnd_next(uchar *record) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_read_rnd_next_count);
    if (m_place == Place::kOpened) count_first();
    const int error = step(true, record);
    return error == 0 && m_in_place_of_innodb ? check_nulls(record) : error;
  });
}

int ha_smartengine::rnd_pos(uchar *record, uchar *position) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_read_rnd_count);
    int error = enter();
    if (error != 0) return error;
    error = codec().encode_ref(position, &m_ref_key);
    if (error != 0) return error;
    if (!m_point) m_point.emplace(ffi::reader_create(engine()));
    ffi::Entry entry{};
    const ffi::Status status = ffi::reader_get(**m_point, txn(), bytes(m_ref_key.slice()), spec(0), entry);
    if (!ok(status)) return not_found(failed(status));
    return decode_row(slice(entry.key), slice(entry.value), record);
  });
}

void ha_smartengine::position(const uchar *record) { codec().make_ref(table, record, m_row_id, ref); }

int ha_smartengine::cmp_ref(const uchar *a, const uchar *b) const { return codec().compare_refs(a, b); }

Item *ha_smartengine::idx_cond_push(uint key_number, Item *condition) {
  if (codec().index(key_number).is_row_index()) return condition;
  pushed_idx_cond = condition;
  pushed_idx_cond_keyno = key_number;
  return nullptr;
}

}  // namespace smartengine
