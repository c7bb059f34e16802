#include <vector>

#include "base/error_map.h"
#include "handler/create_options.h"
#include "handler/ha_smartengine.h"
#include "my_sys.h"
#include "mysql/plugin.h"
#include "mysqld_error.h"
#include "sql/create_field.h"
#include "sql/sql_alter.h"
#include "sql/sql_lex.h"

// An ALTER TABLE that InnoDB carries out in place copies the table here, and is to fail with InnoDB's errors all the same. They differ
// from a copy's in two ways:
//
// - A NULL in a column that becomes NOT NULL is found before any duplicate, and is error 1138. A copy meets duplicates and
//   NULLs in the order of the rows, and reports a NULL as truncated data.
// - Of two rows with the same key the one that comes first is named. A copy names the one that cannot be inserted.
//
// Both are made up for when an error is due. The handler that is read knows from `check_if_supported_inplace_alter` that InnoDB would not have
// copied (it is not asked with ALGORITHM=COPY), and the one that is written finds it through the statement.

namespace smartengine {

namespace {

/// For these InnoDB copies as well.
constexpr Alter_inplace_info::HA_ALTER_FLAGS kCopiedByInnodb =
    Alter_inplace_info::ALTER_STORED_COLUMN_TYPE | Alter_inplace_info::ALTER_VIRTUAL_COLUMN_TYPE |
    Alter_inplace_info::ADD_STORED_GENERATED_COLUMN | Alter_inplace_info::ALTER_STORED_GCOL_EXPR |
    Alter_inplace_info::ALTER_VIRTUAL_GCOL_EXPR | Alter_inplace_info::STORED_GCOL_REEVAL;

/// The columns of the table as it is that can be NULL and cannot any more in the altered one.
std::vector<const Field *> columns_losing_null(const TABLE &altered, const Alter_inplace_info &info) {
  std::vector<const Field *> columns;
  uint place = 0;
  for (const Create_field &column : info.alter_info->create_list) {
    if (place >= altered.s->fields) break;
    const Field *becomes = altered.field[place++];
    if (column.field != nullptr && column.field->is_nullable() && !becomes->is_nullable()) columns.push_back(column.field);
  }
  return columns;
}

}  // namespace

enum_alter_inplace_result ha_smartengine::check_if_supported_inplace_alter(TABLE *altered_table, Alter_inplace_info *info) {
  m_in_place_of_innodb.reset();
  if (const char *option = create_options::refused(ha_thd(), *info->create_info); option != nullptr) {
    my_error(ER_ILLEGAL_HA_CREATE_OPTION, MYF(0), "SMARTENGINE", option);
    return HA_ALTER_ERROR;
  }
  const enum_alter_inplace_result result = handler::check_if_supported_inplace_alter(altered_table, info);
  const bool copies = result == HA_ALTER_INPLACE_NOT_SUPPORTED;
  if (!copies || (info->handler_flags & kCopiedByInnodb) != 0) return result;
  std::vector<const Field *> columns = columns_losing_null(*altered_table, *info);
  // Where a NULL may be made a value, InnoDB copies too.
  if (columns.empty() || ha_thd()->is_strict_mode()) m_in_place_of_innodb = std::move(columns);
  return result;
}

/// The row just read from the table that is being altered.
int ha_smartengine::check_nulls(const uchar *record) const {
  const ptrdiff_t distance = record - table->record[0];
  for (const Field *column : *m_in_place_of_innodb) {
    if (!column->is_null(distance)) continue;
    my_error(ER_INVALID_USE_OF_NULL, MYF(0));
    return kErrorRaised;
  }
  return 0;
}

/// The rows that are still to be copied.
int ha_smartengine::check_remaining_nulls() {
  if (m_in_place_of_innodb->empty() || inited != RND) return 0;
  int error = 0;
  while (error == 0) error = ha_rnd_next(table->record[0]);
  return error == HA_ERR_END_OF_FILE ? 0 : error;
}

/// The handler of the table that the statement alters, if it is this engine's.
ha_smartengine *ha_smartengine::altered_source() const {
  const int command = thd_sql_command(ha_thd());
  if (command != SQLCOM_ALTER_TABLE && command != SQLCOM_CREATE_INDEX) return nullptr;
  const Table_ref *reference = ha_thd()->lex->query_block->get_table_list();
  if (reference == nullptr || reference->table == nullptr || reference->table == table) return nullptr;
  handler *file = reference->table->file;
  return file != nullptr && file->ht == ht ? static_cast<ha_smartengine *>(file) : nullptr;
}

/// `record` could not be inserted, since another row has its key.
int ha_smartengine::judge_copied_duplicate(uchar *record) {
  ha_smartengine *source = altered_source();
  if (source == nullptr || !source->m_in_place_of_innodb || record != table->record[0]) return HA_ERR_FOUND_DUPP_KEY;
  if (const int error = source->check_remaining_nulls(); error != 0) return error;
  if (m_duplicate_key >= table_share->keys || inited != NONE) return HA_ERR_FOUND_DUPP_KEY;
  // The server's message shows the key of record[0].
  const KEY &key = table->key_info[m_duplicate_key];
  const std::vector<uchar> kept(record, record + table_share->reclength);
  std::vector<uchar> image(key.key_length);
  key_copy(image.data(), record, &key, key.key_length);
  const uint duplicate_key = m_duplicate_key;
  int error = ha_index_init(duplicate_key, false);
  if (error == 0) error = ha_index_read_map(record, image.data(), make_prev_keypart_map(key.user_defined_key_parts), HA_READ_KEY_EXACT);
  if (inited != NONE) ha_index_end();
  m_duplicate_key = duplicate_key;
  if (error != 0) memcpy(record, kept.data(), kept.size());
  return HA_ERR_FOUND_DUPP_KEY;
}

}  // namespace smartengine
