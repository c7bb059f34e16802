#include "handler/ha_smartengine.h"

#include <algorithm>

#include "base/error_map.h"
#include "base/log.h"
#include "base/settings.h"
#include "my_bitmap.h"
#include "my_sys.h"
#include "myisam.h"
#include "mysql/plugin.h"
#include "mysqld_error.h"
#include "sql/dd/types/table.h"
#include "sql/sql_thd_internal_api.h"
#include "table/dictionary.h"

namespace smartengine {

namespace {

/// Memory for encoded rows that a handler keeps from one statement to the next.
constexpr size_t kKeptRowBytes = 1 << 20;

}  // namespace

ha_smartengine::ha_smartengine(::handlerton *handlerton, TABLE_SHARE *share) : handler(handlerton, share) {}

handler::Table_flags ha_smartengine::table_flags() const {
  const Table_flags flags = HA_NULL_IN_KEY | HA_CAN_INDEX_BLOBS | HA_CAN_SQL_HANDLER | HA_PRIMARY_KEY_REQUIRED_FOR_POSITION |
                            HA_PRIMARY_KEY_IN_READ_INDEX | HA_REQUIRES_KEY_COLUMNS_FOR_DELETE | HA_BINLOG_ROW_CAPABLE | HA_CAN_GEOMETRY |
                            HA_SUPPORTS_GEOGRAPHIC_GEOMETRY_COLUMN | HA_PARTIAL_COLUMN_READ | HA_TABLE_SCAN_ON_INDEX |
                            HA_NO_READ_LOCAL_LOCK | HA_BLOB_PARTIAL_UPDATE | HA_GENERATED_COLUMNS | HA_CAN_INDEX_VIRTUAL_GENERATED_COLUMN |
                            HA_DESCENDING_INDEX | HA_SUPPORTS_DEFAULT_EXPRESSION | HA_ATTACHABLE_TRX_COMPATIBLE;
  // As InnoDB: below REPEATABLE READ a statement run again elsewhere may see other rows.
  const THD *thd = ha_thd();
  return thd != nullptr && thd_get_trx_isolation(thd) <= ISO_READ_COMMITTED ? flags : flags | HA_BINLOG_STMT_CAPABLE;
}

ulong ha_smartengine::index_flags(uint, uint, bool) const {
  return HA_READ_NEXT | HA_READ_PREV | HA_READ_ORDER | HA_READ_RANGE | HA_KEYREAD_ONLY | HA_DO_INDEX_COND_PUSHDOWN;
}

int ha_smartengine::failed(const ffi::Status &status) { return ha_error(status, ha_thd()); }

/// Bytes of the store that decode to nothing: the error log says where.
int ha_smartengine::damaged(const char *what, int error) {
  if (error == HA_ERR_OUT_OF_MEM) return error;
  log::error(std::string(what) + " cannot be decoded: table " + std::string(table_share->db.str, table_share->db.length) + "." +
             std::string(table_share->table_name.str, table_share->table_name.length));
  return HA_ERR_TABLE_CORRUPT;
}

int ha_smartengine::open(const char *name, int, uint, const dd::Table *table_def) {
  return guarded([&] { return open_table(name, table_def); });
}

int ha_smartengine::attach_share(uint64_t table_id, bool temporary) {
  std::shared_ptr<TableState> table_state;
  int error = dictionary::find(table_id, &table_state);
  if (error != 0) return error;
  std::string why;
  if (!temporary && !table_state->def().matches(*table_share, &why)) {
    log::error("table " + std::string(table_share->path.str) + " is not what the dictionary describes: " + why);
    return HA_ERR_TABLE_DEF_CHANGED;
  }
  std::unique_ptr<TableCodec> made = TableCodec::create(*table_share, table_state->def(), &why);
  if (made == nullptr) {
    log::error("table " + std::string(table_share->path.str) + ": " + why);
    return HA_ERR_TABLE_DEF_CHANGED;
  }
  m_share = new TableShare(std::move(table_state), std::move(made));
  set_ha_share_ptr(m_share);
  return 0;
}

/// Which columns each key has, so that an UPDATE passes over the keys it leaves alone.
void ha_smartengine::describe_columns() {
  const uint keys = table_share->keys;
  const size_t words = bitmap_buffer_size(table_share->fields) / sizeof(my_bitmap_map);
  m_index_column_bits.assign(words * keys, 0);
  m_index_columns.resize(keys);
  for (uint i = 0; i < keys; ++i) {
    bitmap_init(&m_index_columns[i], m_index_column_bits.data() + words * i, table_share->fields);
    const KEY &key = table_share->key_info[i];
    for (uint part = 0; part < key.user_defined_key_parts; ++part) {
      bitmap_set_bit(&m_index_columns[i], key.key_part[part].fieldnr - 1);
    }
    // An entry also holds what the primary key's encoding lost: 'a' made 'A' leaves the keys as they are, but not the
    // value.
    for (const KeyPartCodec &part : codec().row_index().parts()) {
      if (part.has_restore()) bitmap_set_bit(&m_index_columns[i], part.field_index());
    }
  }
}

int ha_smartengine::open_table(const char *, const dd::Table *table_def) {
  lock_shared_ha_data();
  m_share = static_cast<TableShare *>(get_ha_share_ptr());
  int error = 0;
  // A clone is opened without a definition, but its share is there.
  if (m_share == nullptr) {
    error = table_def == nullptr ? HA_ERR_NO_SUCH_TABLE : attach_share(table_def->se_private_id(), table_def->is_temporary());
  }
  unlock_shared_ha_data();
  if (error != 0) return error;
  ref_length = codec().ref_length();
  // A table scan walks the primary key, so an UPDATE that moves rows in it must know them all before the first is
  // moved.
  key_used_on_scan = table_share->primary_key;
  m_new_entries.resize(codec().index_count());
  m_old_entries.resize(codec().index_count());
  describe_columns();
  stats.block_size = static_cast<uint>(settings::block_size());
  return info(HA_STATUS_NO_LOCK | HA_STATUS_VARIABLE | HA_STATUS_CONST);
}

int ha_smartengine::close() {
  close_scan();
  m_scan.reset();
  m_point.reset();
  flush_counts();
  return 0;
}

handler *ha_smartengine::clone(const char *name, MEM_ROOT *root) {
  handler *copy = handler::clone(name, root);
  if (copy != nullptr) {
    auto *clone = static_cast<ha_smartengine *>(copy);
    clone->m_lock = m_lock;
    clone->m_lock_wait = m_lock_wait;
  }
  return copy;
}

int ha_smartengine::reset() {
  close_scan();
  m_keyread = false;
  m_read_all_columns = false;
  m_try_semi_consistent = false;
  m_changes_duplicates = false;
  m_auto_increment_rows = 0;
  m_in_place_of_innodb.reset();
  // A rare large row must not hold its memory for as long as the table is open.
  m_row.shrink_to(kKeptRowBytes);
  flush_counts();
  return 0;
}

void ha_smartengine::flush_counts() {
  const int64_t added = static_cast<int64_t>(m_counts.inserted) - static_cast<int64_t>(m_counts.deleted);
  if (added != 0) state().stats.note_rows(added);
  add_to_total(m_counts);
  m_counts = {};
}

int ha_smartengine::enter() {
  if (m_trx != nullptr && m_trx->active()) return 0;
  THD *thd = ha_thd();
  m_trx = &Trx::of(thd);
  return m_trx->active() ? 0 : m_trx->start_statement(thd);
}

/// How rows are read, as InnoDB chooses it: by the newest version and locked where the statement writes or asks for it,
/// shared where what it reads goes into a change, and everywhere in a SERIALIZABLE transaction of more than one statement.
ffi::LockMode ha_smartengine::lock_mode(THD *thd, thr_lock_type type) const {
  if (type >= TL_WRITE_ALLOW_WRITE) return ffi::LockMode::Exclusive;
  const int command = thd_sql_command(thd);
  switch (command) {
    case SQLCOM_HA_OPEN:
    case SQLCOM_HA_READ:
    case SQLCOM_CHECKSUM:
      return ffi::LockMode::None;
    // The metadata lock keeps writers out, so that rows need no locks.
    case SQLCOM_ALTER_TABLE:
    case SQLCOM_CREATE_INDEX:
    case SQLCOM_DROP_INDEX:
    case SQLCOM_OPTIMIZE:
    case SQLCOM_ANALYZE:
    case SQLCOM_CHECK:
    case SQLCOM_REPAIR:
    case SQLCOM_DROP_TABLE:
    case SQLCOM_TRUNCATE:
      return ffi::LockMode::None;
    default:
      break;
  }
  const enum_tx_isolation isolation = thd_get_trx_isolation(thd);
  const bool plain = type == TL_READ || type == TL_READ_NO_INSERT;
  const bool feeds_change =
      command == SQLCOM_INSERT_SELECT || command == SQLCOM_REPLACE_SELECT || command == SQLCOM_UPDATE || command == SQLCOM_CREATE_TABLE;
  // Below REPEATABLE READ these read a snapshot, unless they ask for more.
  const bool consistent = isolation <= ISO_READ_COMMITTED && plain && feeds_change;
  // The tables of stored functions and triggers are read under LOCK TABLES as the server understands it.
  const bool asked = type == TL_READ_WITH_SHARED_LOCKS || type == TL_READ_NO_INSERT ||
                     ((type == TL_READ || type == TL_READ_HIGH_PRIORITY) && thd_in_lock_tables(thd) != 0);
  if (!consistent && (asked || command != SQLCOM_SELECT)) return ffi::LockMode::Shared;
  const bool longer = thd_test_options(thd, OPTION_NOT_AUTOCOMMIT | OPTION_BEGIN);
  return isolation == ISO_SERIALIZABLE && longer ? ffi::LockMode::Shared : ffi::LockMode::None;
}

THR_LOCK_DATA **ha_smartengine::store_lock(THD *thd, THR_LOCK_DATA **to, thr_lock_type type) {
  if (type == TL_IGNORE) return to;
  m_lock = lock_mode(thd, type);
  m_lock_wait = ffi::LockWait::Wait;
  if (table->pos_in_table_list != nullptr) {
    const thr_locked_row_action action = table->pos_in_table_list->lock_descriptor().action;
    if (action == THR_NOWAIT) m_lock_wait = ffi::LockWait::NoWait;
    if (action == THR_SKIP) m_lock_wait = ffi::LockWait::SkipLocked;
  }
  return to;
}

int ha_smartengine::external_lock(THD *thd, int type) {
  return guarded([&] {
    if (type == F_UNLCK) {
      flush_counts();
      m_trx = nullptr;
      return 0;
    }
    if (type == F_WRLCK) m_lock = ffi::LockMode::Exclusive;
    m_trx = &Trx::of(thd);
    return m_trx->start_statement(thd);
  });
}

/// Whether the transaction sees the table. One that was made or copied since its snapshot would look empty.
int ha_smartengine::check_snapshot() {
  const uint64_t from = state().visible_from.load(std::memory_order_acquire);
  if (from == 0 || m_trx == nullptr || thd_get_trx_isolation(ha_thd()) <= ISO_READ_COMMITTED) return 0;
  const uint64_t seen = ffi::txn_snapshot(txn());
  return seen == 0 || seen >= from ? 0 : HA_ERR_TABLE_DEF_CHANGED;
}

int ha_smartengine::start_stmt(THD *thd, thr_lock_type type) {
  return guarded([&] {
    m_lock = lock_mode(thd, type);
    m_trx = &Trx::of(thd);
    return m_trx->start_statement(thd);
  });
}

void ha_smartengine::unlock_row() {
  if (m_lock == ffi::LockMode::None || m_trx == nullptr || thd_get_trx_isolation(ha_thd()) > ISO_READ_COMMITTED) return;
  m_entry.unlocked = false;
  if (m_scan && m_place != Place::kNone) ffi::reader_unlock_row(**m_scan, txn());
}

/// UPDATE and DELETE ask for it: a row that another holds is shown as last committed, and only if the statement wants it, waited for.
void ha_smartengine::try_semi_consistent_read(bool yes) {
  m_try_semi_consistent = yes && thd_get_trx_isolation(ha_thd()) <= ISO_READ_COMMITTED;
  const bool scans = m_place == Place::kOpened || m_place == Place::kScan;
  if (scans && m_scan && m_lock != ffi::LockMode::None && m_trx != nullptr && m_scan_txn == m_trx->id()) {
    ffi::reader_set_wait(**m_scan, txn(), scan_spec(0).wait);
  }
}

void ha_smartengine::fill_sizes(bool exact_zero) {
  uint64_t version = 0;
  const TableStats::Sizes sizes = state().stats.sizes(codec(), &version);
  // The optimizer takes zero rows for a fact, and this is an estimate.
  stats.records = sizes.rows == 0 && !exact_zero ? 1 : sizes.rows;
  stats.data_file_length = sizes.row_bytes;
  stats.index_file_length = sizes.index_bytes;
  stats.delete_length = 0;
  stats.deleted = 0;
  stats.mean_rec_length = sizes.rows == 0 ? 0 : static_cast<ulong>(sizes.row_bytes / sizes.rows);
  stats.mrr_length_per_rec = ref_length + sizeof(void *);
  // The server asks for rows per key when it opens a table, and keeps tables open while they fill.
  if (version != m_stats_version) fill_rows_per_key();
  m_stats_version = version;
}

void ha_smartengine::fill_rows_per_key() {
  for (uint i = 0; i < table_share->keys; ++i) {
    KEY &key = table->key_info[i];
    const uint own = key.user_defined_key_parts;
    for (uint part = 0; part < key.actual_key_parts; ++part) {
      // Past the index's own columns come the primary key's, which tell every row.
      const double rows = part < own ? state().stats.rows_per_key(codec(), i, part) : 1.0;
      if (rows > 0) key.set_records_per_key(part, static_cast<rec_per_key_t>(rows));
    }
  }
}

int ha_smartengine::info(uint flags) {
  return guarded([&] {
    if ((flags & HA_STATUS_VARIABLE) != 0) fill_sizes((flags & HA_STATUS_TIME) != 0);
    if ((flags & HA_STATUS_CONST) != 0) fill_rows_per_key();
    if ((flags & HA_STATUS_ERRKEY) != 0) errkey = m_duplicate_key;
    if ((flags & HA_STATUS_AUTO) != 0 && table->found_next_number_field != nullptr) {
      const int error = load_auto_increment();
      if (error != 0) return error;
      stats.auto_increment_value = state().auto_increment.next();
    }
    return 0;
  });
}

int ha_smartengine::extra(ha_extra_function operation) {
  switch (operation) {
    case HA_EXTRA_KEYREAD:
      m_keyread = true;
      break;
    case HA_EXTRA_NO_KEYREAD:
      m_keyread = false;
      break;
    case HA_EXTRA_KEYREAD_PRESERVE_FIELDS:
      m_read_all_columns = true;
      break;
    case HA_EXTRA_WRITE_CAN_REPLACE:
    case HA_EXTRA_INSERT_WITH_UPDATE:
      m_changes_duplicates = true;
      break;
    case HA_EXTRA_WRITE_CANNOT_REPLACE:
    case HA_EXTRA_NO_IGNORE_DUP_KEY:
      m_changes_duplicates = false;
      break;
    default:
      break;
  }
  return 0;
}

double ha_smartengine::scan_time() {
  // In blocks, as InnoDB counts pages, so that the two are weighed alike.
  return m_share == nullptr ? handler::scan_time()
                            : std::max(1.0, static_cast<double>(stats.data_file_length) / static_cast<double>(settings::block_size()));
}

double ha_smartengine::read_time(uint index, uint ranges, ha_rows rows) {
  if (index != table_share->primary_key) return handler::read_time(index, ranges, rows);
  if (rows <= 2) return static_cast<double>(rows);
  const double all = scan_time();
  const ha_rows total = estimate_rows_upper_bound();
  return total < rows ? all : ranges + static_cast<double>(rows) / static_cast<double>(total) * all;
}

longlong ha_smartengine::get_memory_buffer_size() const { return static_cast<longlong>(settings::block_cache_size()); }

ha_rows ha_smartengine::estimate_rows_upper_bound() { return std::max<ha_rows>(stats.records, 10) * 2; }

/// m_lower and m_upper become the bounds of a range that the optimizer asks about.
int ha_smartengine::range_bounds(const IndexCodec &index, const key_range *min_key, const key_range *max_key) {
  int error = index.range(&m_lower, &m_upper);
  bool clipped = false;
  if (error == 0 && min_key != nullptr) {
    error = search_prefix(index, min_key->key, min_key->keypart_map, &m_lower, &clipped);
    if (error == 0 && min_key->flag == HA_READ_AFTER_KEY && !clipped && !prefix_successor(&m_lower))
      return own_error(kErrorInternal, "a range without end");
  }
  if (error == 0 && max_key != nullptr) {
    error = search_prefix(index, max_key->key, max_key->keypart_map, &m_upper, &clipped);
    const bool past = error == 0 && (max_key->flag != HA_READ_BEFORE_KEY || clipped);
    if (past && !prefix_successor(&m_upper)) return own_error(kErrorInternal, "a range without end");
  }
  return error;
}

int ha_smartengine::records_from_index(ha_rows *num_rows, uint index) {
  // The server does not say that it wants no more than to count entries; looking up each one's row takes many times as long.
  const bool keyread = m_keyread;
  m_keyread = true;
  const int error = handler::records_from_index(num_rows, index);
  m_keyread = keyread;
  return error;
}

ha_rows ha_smartengine::records_in_range(uint key_number, key_range *min_key, key_range *max_key) {
  ha_rows rows = 1;
  const int error = guarded([&] {
    const int result = range_bounds(codec().index(key_number), min_key, max_key);
    if (result != 0) return result;
    if (compare(m_lower.slice(), m_upper.slice()) < 0) rows = std::max<ha_rows>(range_stats(m_lower, m_upper).entries, 1);
    // A range with more rows than the table, whose size is a moment old, makes the optimizer's products of fractions
    // absurd.
    stats.records = std::max(stats.records, rows);
    return 0;
  });
  return error == 0 ? rows : HA_POS_ERROR;
}

int ha_smartengine::analyze(THD *, HA_CHECK_OPT *) {
  return guarded([&] {
    const int error = state().stats.analyze(codec());
    if (error != 0) return static_cast<int>(HA_ADMIN_FAILED);
    info(HA_STATUS_VARIABLE | HA_STATUS_CONST);
    return static_cast<int>(HA_ADMIN_OK);
  });
}

int ha_smartengine::optimize(THD *thd, HA_CHECK_OPT *options) {
  const ffi::Status status = ffi::engine_flush(engine());
  if (!ok(status)) {
    raise(failed(status));
    return HA_ADMIN_FAILED;
  }
  return analyze(thd, options);
}

int ha_smartengine::count_entries(const IndexCodec &index, uint64_t *entries) {
  *entries = 0;
  int error = index.range(&m_lower, &m_upper);
  if (error != 0) return error;
  if (!m_point) m_point.emplace(ffi::reader_create(engine()));
  const ffi::ReadSpec plain{ffi::LockMode::None, ffi::LockWait::Wait, 0};
  ffi::Status status = ffi::reader_open(**m_point, txn(), bytes(m_lower.slice()), bytes(m_upper.slice()), plain);
  ffi::Entry entry{};
  if (ok(status)) status = ffi::reader_seek(**m_point, txn(), ffi::Seek::First, {}, entry);
  for (; ok(status); status = ffi::reader_next(**m_point, txn(), entry)) {
    ++*entries;
    if (*entries % 1024 == 0 && interrupted()) break;
  }
  ffi::reader_close(**m_point);
  return status.code == ffi::Code::NotFound ? 0 : ok(status) ? HA_ERR_QUERY_INTERRUPTED : failed(status);
}

/// Every entry that the row in record[0] has must be in its index, as it would be written today.
int ha_smartengine::check_row(uint64_t row_id, std::string *problem) {
  int error = encode_row_key(table->record[0], row_id, &m_new_key);
  if (error != 0) return error;
  if (!m_point) m_point.emplace(ffi::reader_create(engine()));
  for (uint i = 0; i < codec().index_count(); ++i) {
    if (codec().index(i).is_row_index()) continue;
    error = encode_entry(i, table->record[0], m_new_key.slice_from(kIndexIdSize), &m_new_entries[i]);
    if (error != 0) return error;
    ffi::Entry entry{};
    const ffi::ReadSpec plain{ffi::LockMode::None, ffi::LockWait::Wait, 0};
    const ffi::Status status = ffi::reader_get(**m_point, txn(), bytes(m_new_entries[i].key.slice()), plain, entry);
    if (status.code == ffi::Code::NotFound)
      *problem = std::string("a row has no entry in index ") + table->key_info[i].name;
    else if (!ok(status))
      return failed(status);
    else if (slice(entry.value) != m_new_entries[i].value.slice())
      *problem = std::string("a row's entry in index is wrong: ") + table->key_info[i].name;
  }
  return 0;
}

int ha_smartengine::check_table(bool every_entry, std::string *problem) {
  int error = enter();
  if (error != 0) return error;
  const ffi::LockMode lock = m_lock;
  m_lock = ffi::LockMode::None;
  m_read_all_columns = true;
  uint64_t rows = 0;
  error = ha_rnd_init(true);
  while (error == 0 && (error = ha_rnd_next(table->record[0])) == 0 && problem->empty()) {
    ++rows;
    if (every_entry) error = check_row(m_row_id, problem);
    if (rows % 1024 == 0 && interrupted()) error = HA_ERR_QUERY_INTERRUPTED;
  }
  if (error == HA_ERR_END_OF_FILE) error = 0;
  if (inited != NONE) ha_rnd_end();
  for (uint i = 0; i < codec().index_count() && error == 0 && problem->empty(); ++i) {
    uint64_t entries = 0;
    error = count_entries(codec().index(i), &entries);
    if (error == 0 && entries != rows) {
      *problem = std::string("index ") + table->key_info[i].name + " has " + std::to_string(entries) + " entries for " +
                 std::to_string(rows) + " rows";
    }
  }
  m_lock = lock;
  m_read_all_columns = false;
  return error;
}

int ha_smartengine::check(THD *thd, HA_CHECK_OPT *options) {
  return guarded([&] {
    std::string problem;
    MY_BITMAP *const read_set = table->read_set;
    table->column_bitmaps_set_no_signal(&table->s->all_set, table->write_set);
    const int error = check_table((options->flags & T_QUICK) == 0, &problem);
    table->column_bitmaps_set_no_signal(read_set, table->write_set);
    if (error == HA_ERR_QUERY_INTERRUPTED) return static_cast<int>(HA_ADMIN_FAILED);
    if (error == 0 && problem.empty()) return static_cast<int>(HA_ADMIN_OK);
    if (problem.empty()) problem = last_error_message().empty() ? "a row cannot be decoded" : last_error_message();
    push_warning_printf(thd, Sql_condition::SL_WARNING, ER_NOT_KEYFILE, "SMARTENGINE: %s", problem.c_str());
    return static_cast<int>(HA_ADMIN_CORRUPT);
  });
}

void ha_smartengine::print_error(int error, myf flags) {
  switch (error) {
    case kErrorRaised:
      break;
    // The base class has no text for these.
    case HA_ERR_NO_WAIT_LOCK:
      my_error(ER_LOCK_NOWAIT, flags);
      break;
    case HA_ERR_TOO_BIG_ROW:
      my_error(ER_TOO_LONG_KEY, flags, static_cast<int>(kMaxKeySize));
      break;
    default:
      handler::print_error(error, flags);
  }
}

bool ha_smartengine::get_error_message(int error, String *text) { return error_text(error, text); }

}  // namespace smartengine
