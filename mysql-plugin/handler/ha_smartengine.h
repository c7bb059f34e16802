// The handler: one open instance of a table, used by one session at a time.
//
// ha_smartengine.cc  opening, locks, information for the optimizer, administration
// ha_read.cc         scans and point reads
// ha_write.cc        INSERT, UPDATE, DELETE, AUTO_INCREMENT
// ha_ddl.cc          CREATE, DROP, RENAME, TRUNCATE
// ha_alter.cc        ALTER
//
// A row costs one call of the bridge. Buffers are the handler's own and keep their memory. What a read hands the server
// (blobs, and keys of positions) points into bytes that the reader keeps until the handler's next read.

#ifndef SMARTENGINE_HA_SMARTENGINE_H
#define SMARTENGINE_HA_SMARTENGINE_H

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/row_counts.h"
#include "codec/table_codec.h"
#include "compat.h"
#include "session/trx.h"
#include "table/table_state.h"

namespace smartengine {

class ha_smartengine : public handler {
 public:
  ha_smartengine(::handlerton *handlerton, TABLE_SHARE *share);

  const char *table_type() const override { return "SMARTENGINE"; }
  Table_flags table_flags() const override;
  ulong index_flags(uint key_number, uint part, bool all_parts) const override;
  uint max_supported_keys() const override { return MAX_KEY; }
  uint max_supported_key_parts() const override { return MAX_REF_PARTS; }
  uint max_supported_key_length() const override { return 3500; }
  uint max_supported_key_part_length(HA_CREATE_INFO *) const override { return 3072; }
  ha_key_alg get_default_index_algorithm() const override { return HA_KEY_ALG_BTREE; }
  bool is_index_algorithm_supported(ha_key_alg algorithm) const override { return algorithm == HA_KEY_ALG_BTREE; }
  bool primary_key_is_clustered() const override { return true; }
  enum row_type get_real_row_type(const HA_CREATE_INFO *) const override { return ROW_TYPE_DYNAMIC; }

  int open(const char *name, int mode, uint test_if_locked, const dd::Table *table_def) override;
  int close() override;
  handler *clone(const char *name, MEM_ROOT *root) override;
  int reset() override;

  uint lock_count() const override { return 0; }
  THR_LOCK_DATA **store_lock(THD *thd, THR_LOCK_DATA **to, thr_lock_type type) override;
  int external_lock(THD *thd, int type) override;
  int start_stmt(THD *thd, thr_lock_type type) override;
  void unlock_row() override;
  void try_semi_consistent_read(bool yes) override;
  bool was_semi_consistent_read() override { return m_entry.unlocked; }

  int info(uint flags) override;
  int extra(ha_extra_function operation) override;
  double scan_time() override;
  double read_time(uint index, uint ranges, ha_rows rows) override;
  ha_rows estimate_rows_upper_bound() override;
  longlong get_memory_buffer_size() const override;
  ha_rows records_in_range(uint key_number, key_range *min_key, key_range *max_key) override;
  int records_from_index(ha_rows *num_rows, uint index) override;
  int analyze(THD *thd, HA_CHECK_OPT *options) override;
  int check(THD *thd, HA_CHECK_OPT *options) override;
  int optimize(THD *thd, HA_CHECK_OPT *options) override;
  void print_error(int error, myf flags) override;
  bool get_error_message(int error, String *text) override;

  int index_init(uint key_number, bool sorted) override;
  int index_end() override;
  int index_read_map(uchar *record, const uchar *key, key_part_map parts, ha_rkey_function find) override;
  int index_read_last_map(uchar *record, const uchar *key, key_part_map parts) override;
  int index_next(uchar *record) override;
  int index_next_same(uchar *record, const uchar *key, uint length) override;
  int index_prev(uchar *record) override;
  int index_first(uchar *record) override;
  int index_last(uchar *record) override;
  int rnd_init(bool scan) override;
  int rnd_end() override;
  int rnd_next(uchar *record) override;
  int rnd_pos(uchar *record, uchar *position) override;
  void position(const uchar *record) override;
  int cmp_ref(const uchar *a, const uchar *b) const override;
  Item *idx_cond_push(uint key_number, Item *condition) override;

  int write_row(uchar *record) override;
  int update_row(const uchar *old_record, uchar *new_record) override;
  int delete_row(const uchar *record) override;
  void get_auto_increment(ulonglong offset, ulonglong increment, ulonglong wanted, ulonglong *first, ulonglong *reserved) override;
  void update_create_info(HA_CREATE_INFO *create_info) override;

  int create(const char *name, TABLE *form, HA_CREATE_INFO *create_info, dd::Table *table_def) override;
  int delete_table(const char *name, const dd::Table *table_def) override;
  int rename_table(const char *from, const char *to, const dd::Table *from_def, dd::Table *to_def) override;
  int truncate(dd::Table *table_def) override;

  enum_alter_inplace_result check_if_supported_inplace_alter(TABLE *altered_table, Alter_inplace_info *info) override;

 private:
  /// How a scan gets its rows.
  enum class Access : uint8_t {
    kRow,       ///< The index's values are the rows.
    kThrough,   ///< The engine reads the row of each entry.
    kCovering,  ///< The entry holds all that is wanted.
    kFiltered,  ///< The pushed condition is tried on the entry; the rows of those that pass are read.
  };
  /// Where a scan stands.
  enum class Place : uint8_t { kNone, kPoint, kOpened, kScan };

  /// The entries of one index for a record: what an UPDATE compares.
  struct IndexEntry {
    ByteBuffer key;
    ByteBuffer value;
    bool unique = false;
  };

  const TableCodec &codec() const { return m_share->codec(); }
  TableState &state() { return m_share->state(); }

  // ha_smartengine.cc
  int open_table(const char *name, const dd::Table *table_def);
  int attach_share(uint64_t table_id, bool temporary);
  int use_share(TableShare *share);
  /// The session's transaction, started if this is its first use.
  int enter();
  ffi::TxnHandle &txn() { return m_trx->txn(); }
  int failed(const ffi::Status &status);
  int damaged(const char *what, int error);
  int check_snapshot();
  ffi::LockMode lock_mode(THD *thd, thr_lock_type type) const;
  void fill_sizes(bool exact_zero);
  void fill_rows_per_key();
  void describe_columns();
  void flush_counts();
  int range_bounds(const IndexCodec &index, const key_range *min_key, const key_range *max_key);
  int check_row(uint64_t row_id, std::string *problem);
  int count_entries(const IndexCodec &index, uint64_t *entries);
  int check_table(bool every_entry, std::string *problem);

  // ha_read.cc
  ffi::ReadSpec spec(uint32_t row_index) const { return {m_lock, m_lock_wait, row_index}; }
  bool is_filtered(const IndexCodec &index) const;
  ffi::ReadSpec scan_spec(uint32_t row_index) const;
  Access access_of(const IndexCodec &index) const;
  int search_prefix(const IndexCodec &index, const uchar *key, key_part_map parts, ByteBuffer *prefix, bool *clipped) const;
  int open_index_scan(bool prefix_only, bool forward);
  int open_scan(Slice lower, Slice upper);
  int seek(ffi::Seek where, Slice key, bool forward, uchar *record);
  int step(bool forward, uchar *record);
  /// Goes on from the entry last read if the scan it came from is gone, or ended at the search prefix.
  int resume(bool forward, uchar *record);
  int read_point(uchar *record);
  int read_clipped(uchar *record, const uchar *key, key_part_map parts, ha_rkey_function find);
  int take(ffi::Status status, bool forward, uchar *record);
  int decode_row(Slice row_key, Slice row, uchar *record);
  bool may_be_stale() const;
  int make_virtual_columns(uchar *record);
  int check_stale(uchar *record, bool *stale);
  bool interrupted();
  void count_first();
  void close_scan();

  // ha_write.cc
  int encode_row_key(const uchar *record, uint64_t row_id, ByteBuffer *key) const;
  int encode_entry(uint key_number, const uchar *record, Slice row_key, IndexEntry *entry) const;
  void begin_ops();
  ffi::OpKind insert_op() const { return m_changes_duplicates ? ffi::OpKind::InsertForUpdate : ffi::OpKind::Insert; }
  void add_op(ffi::OpKind kind, Slice key, Slice value, uint key_number);
  void add_entry(uint key_number, const IndexEntry &entry);
  void remove_entry(uint key_number, const IndexEntry &entry);
  int apply_ops();
  int add_changed_entries(const uchar *old_record, const uchar *new_record, bool key_changed);
  bool touches(uint key_number) const;
  int new_row_id(uint64_t *row_id);
  int load_auto_increment();
  int load_row_id();
  int largest_auto_increment(uint64_t *value);
  int note_auto_increment(const uchar *record);
  bool is_unchanged(const uchar *old_record, const uchar *new_record) const;
  static uint64_t next_of_series(uint64_t current, uint64_t count, uint64_t step, uint64_t offset, uint64_t limit);
  int persist_auto_increment(uint64_t value);

  // ha_ddl.cc
  int create_table(const char *name, TABLE *form, HA_CREATE_INFO *create_info, dd::Table *table_def);
  int drop_table(THD *thd, const char *name, const dd::Table &table_def);

  // ha_alter.cc
  int check_nulls(const uchar *record) const;
  int check_remaining_nulls();
  ha_smartengine *altered_source() const;
  int judge_copied_duplicate(uchar *record);

  TableShare *m_share = nullptr;
  Trx *m_trx = nullptr;
  std::optional<rust::Box<ffi::ReaderHandle>> m_scan;   ///< Index and table scans, and lookups in an index.
  std::optional<rust::Box<ffi::ReaderHandle>> m_point;  ///< rnd_pos, which may come between two steps of a scan.
  std::vector<MY_BITMAP> m_index_columns;               ///< The columns of each of the server's keys.
  std::vector<my_bitmap_map> m_index_column_bits;

  ffi::LockMode m_lock = ffi::LockMode::None;
  ffi::LockWait m_lock_wait = ffi::LockWait::Wait;
  bool m_try_semi_consistent = false;
  /// A row that is in the way of an insertion is going to be changed: REPLACE, or ON DUPLICATE KEY UPDATE.
  bool m_changes_duplicates = false;
  uint64_t m_auto_increment_rows = 0;    ///< That the statement is still to write.
  uint64_t m_auto_increment_step = 1;    ///< Of the last statement that took values.
  uint64_t m_auto_increment_offset = 0;  ///< The same.
  uint64_t m_stats_version = 0;
  bool m_keyread = false;
  bool m_read_all_columns = false;

  const IndexCodec *m_index = nullptr;
  Access m_access = Access::kRow;
  Place m_place = Place::kNone;
  bool m_prefix_only = false;  ///< The scan ends where the search prefix does.
  bool m_clipped = false;      ///< The search has more columns than the prefix.
  uint64_t m_scan_txn = 0;     ///< The transaction that the scan belongs to.
  ffi::Entry m_entry{};
  ByteBuffer m_prefix;
  ByteBuffer m_lower;
  ByteBuffer m_upper;
  ByteBuffer m_target;
  ByteBuffer m_ref_key;
  uint64_t m_row_id = 0;  ///< Of the row last read, in tables without primary key.

  ByteBuffer m_row;
  ByteBuffer m_new_key;
  ByteBuffer m_old_key;
  std::vector<IndexEntry> m_new_entries;
  std::vector<IndexEntry> m_old_entries;
  std::vector<ffi::WriteOp> m_ops;
  std::vector<uint> m_op_keys;  ///< The server's key number of each operation.
  uint m_duplicate_key = MAX_KEY;
  /// An ALTER TABLE copies this table that InnoDB would alter in place; these of its columns become NOT NULL.
  std::optional<std::vector<const Field *>> m_in_place_of_innodb;
  RowCounts m_counts;
};

}  // namespace smartengine

#endif  // SMARTENGINE_HA_SMARTENGINE_H
