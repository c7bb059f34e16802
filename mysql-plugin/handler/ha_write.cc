#include <algorithm>
#include <limits>

#include "base/error_map.h"
#include "handler/ha_smartengine.h"
#include "my_bitmap.h"
#include "mysql/plugin.h"
#include "sql/sql_lex.h"
#include "sql/sql_update.h"

// A row and its index entries go to the engine as one list of operations, which it takes whole or not at all. An entry
// that must be new to its index (a primary key, a unique key without NULL) is an Insert, which locks and checks; the
// row's own lock covers the others, whose keys end with the primary key: they are Adds, which wait for a transaction that
// has locked the gap that they go into. A Put changes what is there.

namespace smartengine {

namespace {

bool counts_duplicates(const THD *thd) {
  switch (thd_sql_command(thd)) {
    case SQLCOM_LOAD:
      return thd->lex->duplicates == DUP_REPLACE;
    case SQLCOM_REPLACE:
    case SQLCOM_REPLACE_SELECT:
    case SQLCOM_INSERT_SELECT:
      return true;
    default:
      return false;
  }
}

}  // namespace

int ha_smartengine::encode_row_key(const uchar *record, uint64_t row_id, ByteBuffer *key) const {
  return codec().row_index().encode_row_key(record, row_id, key);
}

int ha_smartengine::encode_entry(uint key_number, const uchar *record, Slice row_key, IndexEntry *entry) const {
  return codec().index(key_number).encode_entry(record, row_key, &entry->key, &entry->value, &entry->unique);
}

void ha_smartengine::begin_ops() {
  m_ops.clear();
  m_op_keys.clear();
}

void ha_smartengine::add_op(ffi::OpKind kind, Slice key, Slice value, uint key_number) {
  m_ops.push_back({kind, borrowed(key), borrowed(value)});
  m_op_keys.push_back(key_number);
}

void ha_smartengine::add_entry(uint key_number, const IndexEntry &entry) {
  add_op(entry.unique ? insert_op() : ffi::OpKind::Add, entry.key.slice(), entry.value.slice(), key_number);
}

/// A transaction that inserts the same unique key meanwhile waits, and learns whether it is free once this one has ended.
void ha_smartengine::remove_entry(uint key_number, const IndexEntry &entry) {
  add_op(entry.unique ? ffi::OpKind::LockDelete : ffi::OpKind::Delete, entry.key.slice(), {}, key_number);
}

int ha_smartengine::apply_ops() {
  Trx::expect_server_tables(ha_thd());
  const ffi::Status status = ffi::txn_apply(txn(), {m_ops.data(), m_ops.size()});
  if (ok(status)) return 0;
  if (status.code == ffi::Code::Duplicate && status.op < m_op_keys.size()) m_duplicate_key = m_op_keys[status.op];
  return failed(status);
}

int ha_smartengine::write_row(uchar *record) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_write_count);
    int error = enter();
    if (error != 0) return error;
    const bool auto_increment = table->next_number_field != nullptr && record == table->record[0];
    if (auto_increment && (error = update_auto_increment()) != 0) return error;

    uint64_t row_id = 0;
    if (codec().has_hidden_row_id() && (error = new_row_id(&row_id)) != 0) return error;
    error = encode_row_key(record, row_id, &m_new_key);
    if (error != 0) return error;
    error = codec().row().encode(record, &m_row);
    if (error != 0) return error;
    begin_ops();
    add_op(insert_op(), m_new_key.slice(), m_row.slice(), table_share->primary_key);
    for (uint i = 0; i < codec().index_count(); ++i) {
      if (codec().index(i).is_row_index()) continue;
      error = encode_entry(i, record, m_new_key.slice_from(kIndexIdSize), &m_new_entries[i]);
      if (error != 0) return error;
      add_entry(i, m_new_entries[i]);
    }
    error = apply_ops();
    if (error == HA_ERR_FOUND_DUPP_KEY) error = judge_copied_duplicate(record);
    if (m_auto_increment_rows > 0) --m_auto_increment_rows;
    // A value that was given moves the counter with its row; that of a duplicate only where the row may take the
    // other's place, as InnoDB has it.
    if (auto_increment && (error == 0 || (error == HA_ERR_FOUND_DUPP_KEY && counts_duplicates(ha_thd())))) {
      const int noted = note_auto_increment(record);
      if (error == 0) error = noted;
    }
    if (error == 0) ++m_counts.inserted;
    return error;
  });
}

bool ha_smartengine::touches(uint key_number) const { return bitmap_is_overlapping(&m_index_columns[key_number], table->write_set); }

/// The operations that turn the old record's entries into the new one's; entries that stay as they are cost nothing,
/// unless the row may be one that the transaction's snapshot does not see: then it is found by its own entries alone.
int ha_smartengine::add_changed_entries(const uchar *old_record, const uchar *new_record, bool key_changed) {
  const bool all = ffi::txn_saw_newer(txn());
  for (uint i = 0; i < codec().index_count(); ++i) {
    if (codec().index(i).is_row_index() || (!all && !key_changed && !touches(i))) continue;
    IndexEntry &before = m_old_entries[i];
    IndexEntry &after = m_new_entries[i];
    int error = encode_entry(i, old_record, m_old_key.slice_from(kIndexIdSize), &before);
    if (error != 0) return error;
    error = encode_entry(i, new_record, m_new_key.slice_from(kIndexIdSize), &after);
    if (error != 0) return error;
    if (before.key.slice() != after.key.slice()) {
      remove_entry(i, before);
      add_entry(i, after);
      continue;
    }
    const bool moved = before.value.slice() != after.value.slice();
    // The caller, which was told of this duplicate, expects the row that it leads to.
    if (moved && before.unique) remove_entry(i, before);
    if (moved || all) add_op(ffi::OpKind::Put, after.key.slice(), after.value.slice(), i);
  }
  return 0;
}

/// Unlike the server's own comparison it does not look at what lies under a NULL. The old record was read to be changed, and so has every column.
bool ha_smartengine::is_unchanged(const uchar *old_record, const uchar *new_record) const {
  const ptrdiff_t distance = old_record - new_record;
  for (uint i = bitmap_get_first_set(table->write_set); i != MY_BIT_NONE; i = bitmap_get_next_set(table->write_set, i)) {
    const Field *field = table->field[i];
    // The columns it is made of tell as much, and it may not have been computed for both records.
    if (field->is_virtual_gcol()) continue;
    const bool null = field->is_null_in_record(new_record);
    if (null != field->is_null_in_record(old_record)) return false;
    if (!null && field->cmp_binary_offset(distance) != 0) return false;
  }
  return true;
}

int ha_smartengine::update_row(const uchar *old_record, uchar *new_record) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_update_count);
    // The server itself compares only rows of which it has read every column that it writes. REPLACE of a row by the same one counts as no
    // change, too.
    if (is_unchanged(old_record, new_record)) return static_cast<int>(HA_ERR_RECORD_IS_THE_SAME);
    int error = enter();
    if (error != 0) return error;
    error = encode_row_key(old_record, m_row_id, &m_old_key);
    if (error != 0) return error;
    error = encode_row_key(new_record, m_row_id, &m_new_key);
    if (error != 0) return error;
    error = codec().row().encode(new_record, &m_row);
    if (error != 0) return error;
    const bool key_changed = m_old_key.slice() != m_new_key.slice();
    begin_ops();
    if (key_changed) add_op(ffi::OpKind::Delete, m_old_key.slice(), {}, table_share->primary_key);
    add_op(key_changed ? ffi::OpKind::Insert : ffi::OpKind::Put, m_new_key.slice(), m_row.slice(), table_share->primary_key);
    error = add_changed_entries(old_record, new_record, key_changed);
    if (error != 0) return error;
    error = apply_ops();
    if (error != 0) return error;
    ++m_counts.updated;
    if (table->found_next_number_field != nullptr && new_record == table->record[0] &&
        bitmap_is_set(table->write_set, table->found_next_number_field->field_index())) {
      return note_auto_increment(new_record);
    }
    return 0;
  });
}

int ha_smartengine::delete_row(const uchar *record) {
  return guarded([&] {
    ha_statistic_increment(&System_status_var::ha_delete_count);
    int error = enter();
    if (error != 0) return error;
    error = encode_row_key(record, m_row_id, &m_old_key);
    if (error != 0) return error;
    begin_ops();
    add_op(ffi::OpKind::Delete, m_old_key.slice(), {}, table_share->primary_key);
    for (uint i = 0; i < codec().index_count(); ++i) {
      if (codec().index(i).is_row_index()) continue;
      error = encode_entry(i, record, m_old_key.slice_from(kIndexIdSize), &m_old_entries[i]);
      if (error != 0) return error;
      remove_entry(i, m_old_entries[i]);
    }
    error = apply_ops();
    if (error == 0) ++m_counts.deleted;
    return error;
  });
}

int ha_smartengine::new_row_id(uint64_t *row_id) {
  if (!state().row_id.loaded()) {
    const int error = load_row_id();
    if (error != 0) return error;
  }
  *row_id = state().row_id.take();
  return 0;
}

/// One more than the largest row id in the table, and than those that transactions have used which were found prepared at the start: these are not
/// seen before they are decided.
int ha_smartengine::load_row_id() {
  const std::lock_guard<std::mutex> guard(state().loading);
  if (state().row_id.loaded()) return 0;
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  ByteBuffer lower, upper;
  const int error = codec().row_index().range(&lower, &upper);
  if (error != 0) return error;
  ffi::Status status =
      ffi::reader_open(*reader, *txn, bytes(lower.slice()), bytes(upper.slice()), {ffi::LockMode::None, ffi::LockWait::Wait, 0});
  ffi::Entry entry{};
  if (ok(status)) status = ffi::reader_seek(*reader, *txn, ffi::Seek::Last, {}, entry);
  uint64_t last = 0;
  if (ok(status)) {
    if (!TableCodec::hidden_row_id_of_key(slice(entry.key), &last)) return damaged("row key", HA_ERR_TABLE_CORRUPT);
  } else if (status.code != ffi::Code::NotFound) {
    return failed(status);
  }
  const rust::Vec<uint8_t> prepared = ffi::engine_recovered_last_key(engine(), codec().row_index().index_id());
  uint64_t used = 0;
  if (!prepared.empty() && !TableCodec::hidden_row_id_of_key({prepared.data(), prepared.size()}, &used))
    return damaged("row key", HA_ERR_TABLE_CORRUPT);
  state().row_id.raise(std::max(last, used) + 1);
  return 0;
}

/// The largest value that is committed, from the index that starts with the column.
int ha_smartengine::largest_auto_increment(uint64_t *value) {
  *value = 0;
  const uint key_number = table_share->next_number_index;
  // In a key that starts with another column, values count within each group: the server's way is to look for the
  // group's last.
  if (table_share->next_number_keypart != 0) return 0;
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  const IndexCodec &index = codec().index(key_number);
  ByteBuffer lower, upper;
  int error = index.range(&lower, &upper);
  if (error != 0) return error;
  ffi::Status status =
      ffi::reader_open(*reader, *txn, bytes(lower.slice()), bytes(upper.slice()), {ffi::LockMode::None, ffi::LockWait::Wait, 0});
  const bool descending = (table_share->key_info[key_number].key_part[0].key_part_flag & HA_REVERSE_SORT) != 0;
  ffi::Entry entry{};
  if (ok(status)) status = ffi::reader_seek(*reader, *txn, descending ? ffi::Seek::First : ffi::Seek::Last, {}, entry);
  if (status.code == ffi::Code::NotFound) return 0;
  if (!ok(status)) return failed(status);
  std::vector<uchar> record(table_share->rec_buff_length);
  if (index.is_row_index())
    error = codec().row().decode(slice(entry.value), nullptr, record.data());
  else
    error = index.decode_entry(slice(entry.key), slice(entry.value), nullptr, record.data());
  if (error != 0) return damaged("largest AUTO_INCREMENT value", error);
  Field *field = table->found_next_number_field;
  const ptrdiff_t offset = record.data() - table->record[0];
  field->move_field_offset(offset);
  const bool negative = !field->is_unsigned() && field->val_int() < 0;
  if (!field->is_null() && !negative) *value = static_cast<uint64_t>(field->val_int());
  field->move_field_offset(-offset);
  return 0;
}

int ha_smartengine::load_auto_increment() {
  if (state().auto_increment.loaded()) return 0;
  const std::lock_guard<std::mutex> guard(state().loading);
  if (state().auto_increment.loaded()) return 0;
  uint64_t largest = 0;
  int error = largest_auto_increment(&largest);
  if (error != 0) return error;
  uint64_t counted = 0;
  if (!state().is_temporary()) {
    ByteBuffer key;
    if (!append_counter_key(state().id(), &key)) return HA_ERR_OUT_OF_MEM;
    error = failed(ffi::engine_counter(engine(), bytes(key.slice()), counted));
    if (error != 0) return error;
  }
  state().auto_increment.raise(next_of_series(std::max(largest, counted), 1, 1, 0, table->found_next_number_field->get_max_int_value()));
  return 0;
}

int ha_smartengine::persist_auto_increment(uint64_t value) {
  if (state().is_temporary()) return 0;
  ByteBuffer key;
  if (!append_counter_key(state().id(), &key)) return HA_ERR_OUT_OF_MEM;
  return failed(ffi::txn_raise_counter(txn(), bytes(key.slice()), value));
}

/// The value to go on with once `count` of the series offset, offset + step, … are taken, from `current` on. As InnoDB's it goes to the column's limit
/// where there is room for no more than that many.
uint64_t ha_smartengine::next_of_series(uint64_t current, uint64_t count, uint64_t step, uint64_t offset, uint64_t limit) {
  if (current >= limit || step > limit / count) return limit;
  const uint64_t taken = count * step;
  if (offset > taken) offset = 0;
  if (limit - current < offset || limit - current - offset <= taken) return limit;
  const uint64_t past = (current > offset ? current - offset : offset - current) / step * step;
  return std::min(past + taken + offset, limit);
}

/// A value that a statement gave the column moves the counter past it.
int ha_smartengine::note_auto_increment(const uchar *record) {
  Field *field = table->found_next_number_field;
  const ptrdiff_t offset = record - table->record[0];
  field->move_field_offset(offset);
  const longlong number = field->is_null() ? 0 : field->val_int();
  const uint64_t value = number < 0 && !field->is_unsigned() ? 0 : static_cast<uint64_t>(number);
  field->move_field_offset(-offset);
  if (value == 0) return 0;
  int error = load_auto_increment();
  if (error != 0 || value < state().auto_increment.next()) return error;
  const uint64_t limit = field->get_max_int_value();
  if (value > limit) return 0;
  const uint64_t next = next_of_series(value, 1, m_auto_increment_step, m_auto_increment_offset, limit);
  state().auto_increment.raise(next);
  return persist_auto_increment(next - 1);
}

/// How many values the statement still needs is known at its first call alone; from then on its rows are counted, as InnoDB does.
void ha_smartengine::get_auto_increment(ulonglong offset, ulonglong increment, ulonglong wanted, ulonglong *first, ulonglong *reserved) {
  const int error = guarded([&] {
    if (table_share->next_number_keypart != 0) {
      handler::get_auto_increment(offset, increment, wanted, first, reserved);
      return 0;
    }
    int result = enter();
    if (result == 0) result = load_auto_increment();
    if (result != 0) return result;
    const uint64_t limit = table->next_number_field->get_max_int_value();
    const uint64_t step = std::max<ulonglong>(increment, 1);
    if (m_auto_increment_rows == 0) m_auto_increment_rows = std::max<ulonglong>(wanted, 1);
    m_auto_increment_step = step;
    m_auto_increment_offset = offset;
    uint64_t seen = state().auto_increment.next();
    uint64_t start = 0;
    uint64_t next = 0;
    do {
      // The first value at or after `seen` of the series offset, offset + step, …, as the server will compute it. An offset beyond the step
      // counts for nothing.
      start = std::min(seen, limit);
      const uint64_t from = offset > step ? 0 : offset;
      if (step > 1 && start > from) {
        const uint64_t past = (start - from) % step;
        if (past != 0 && limit - start >= step - past) start += step - past;
      } else if (step > 1) {
        start = std::min<uint64_t>(from, limit);
      }
      next = next_of_series(start, m_auto_increment_rows, step, offset, limit);
    } while (!state().auto_increment.exchange(&seen, std::max(seen, next)));
    *first = start;
    *reserved = m_auto_increment_rows;
    return persist_auto_increment(next - 1);
  });
  if (error != 0) {
    *first = std::numeric_limits<ulonglong>::max();
    *reserved = 0;
  }
}

void ha_smartengine::update_create_info(HA_CREATE_INFO *create_info) {
  // A table that is being created is described before it is open.
  if ((create_info->used_fields & HA_CREATE_USED_AUTO) != 0 || m_share == nullptr) return;
  info(HA_STATUS_AUTO);
  create_info->auto_increment_value = stats.auto_increment_value;
}

}  // namespace smartengine
