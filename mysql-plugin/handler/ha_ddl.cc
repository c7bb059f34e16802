#include "base/error_map.h"
#include "base/settings.h"
#include "catalog/tables.h"
#include "handler/create_options.h"
#include "handler/ha_smartengine.h"
#include "my_sys.h"
#include "mysqld_error.h"
#include "sql/dd/types/table.h"
#include "sql/sql_alter.h"
#include "sql/sql_lex.h"
#include "sql/strfunc.h"
#include "table/dictionary.h"

// The server changes its own dictionary and calls these methods within one transaction of the session, in which the
// engine's dictionary rows change too. Index ids come from outside of it: those of a table whose creation is rolled
// back are dropped afterwards, and so are those of a dropped table once the drop is committed.
//
// The order of the two commits is the server's: a crash between them leaves, after CREATE, a row here that no table of
// the server's names; after DROP the same; after RENAME nothing, for names are the server's alone; after TRUNCATE
// either the old rows or none. A row without a table wastes space and is otherwise harmless, because a table's id is
// never given out again.

namespace smartengine {

namespace {

int refuse(const char *what) {
  my_error(ER_CHECK_NOT_IMPLEMENTED, MYF(0), what);
  return kErrorRaised;
}

int refuse_option(const char *option) {
  my_error(ER_ILLEGAL_HA_CREATE_OPTION, MYF(0), "SMARTENGINE", option);
  return kErrorRaised;
}

bool adds_foreign_key(THD *thd) {
  const Alter_info *alter_info = thd->lex->alter_info;
  if (alter_info == nullptr) return false;
  if ((alter_info->flags & Alter_info::ADD_FOREIGN_KEY) != 0) return true;
  for (const Key_spec *key : alter_info->key_list) {
    if (key->type == KEYTYPE_FOREIGN) return true;
  }
  return false;
}

/// What a table cannot have today. What InnoDB takes and only tunes itself by (ROW_FORMAT, KEY_BLOCK_SIZE, statistics)
/// is taken, and what it takes no notice of (CONNECTION, UNION) as well.
int refuse_unsupported(THD *thd, const HA_CREATE_INFO &create_info) {
  if (adds_foreign_key(thd)) return refuse("foreign keys");
  if (create_info.data_file_name != nullptr) return refuse_option("DATA DIRECTORY");
  if (create_info.index_file_name != nullptr) return refuse_option("INDEX DIRECTORY");
  if (create_info.tablespace != nullptr) return refuse_option("TABLESPACE");
  const LEX_STRING &encryption = create_info.encrypt_type;
  if (encryption.length != 0 && my_strcasecmp(system_charset_info, encryption.str, "n") != 0) return refuse_option("ENCRYPTION");
  return 0;
}

/// Warns of what is accepted and has no effect here.
void warn_of_ignored(THD *thd, const HA_CREATE_INFO &create_info) {
  const auto warn = [&](const char *option) {
    push_warning_printf(thd, Sql_condition::SL_WARNING, ER_ILLEGAL_HA_CREATE_OPTION, "SMARTENGINE ignores the create option '%s'", option);
  };
  const LEX_STRING &compression = create_info.compress;
  if (compression.length != 0 && my_strcasecmp(system_charset_info, compression.str, "none") != 0) warn("COMPRESSION");
  if ((create_info.used_fields & HA_CREATE_USED_AUTOEXTEND_SIZE) != 0) warn("AUTOEXTEND_SIZE");
}

bool is_temporary(const HA_CREATE_INFO &create_info) { return (create_info.options & HA_LEX_CREATE_TMP_TABLE) != 0; }

int allocate_indexes(uint32_t count, uint32_t *first) { return ha_error(ffi::engine_allocate_indexes(engine(), count, *first), nullptr); }

/// A replay of the catalog makes the table known to the server; the engine knows it already.
int attach(const TABLE &form, dd::Table *table_def) {
  const uint64_t table_id = catalog::Attaching::table_id();
  std::shared_ptr<TableState> table_state;
  int error = dictionary::find(table_id, &table_state);
  if (error == HA_ERR_NO_SUCH_TABLE) return own_error(kErrorInternal, "the store has no table " + std::to_string(table_id));
  if (error != 0) return error;
  std::string why;
  if (!table_state->def().matches(*form.s, &why)) return own_error(kErrorInternal, "its rows are of another definition: " + why);
  table_def->set_se_private_id(table_id);
  return 0;
}

/// A table that could not be made again is not given up for one of the same name, unless that is wanted.
int make_way(Trx &trx, const char *path) {
  uint64_t kept = 0;
  int error = catalog::find_kept(trx, path, &kept);
  if (error != 0 || kept == 0) return error;
  if (!settings::may_replace_kept_tables()) {
    return own_error(kErrorInternal,
                     "the store keeps a table of this name, which could not be made again at the start: mend what the error log says and "
                     "restart, or SET "
                     "GLOBAL smartengine_replace_kept_tables = ON to have it dropped");
  }
  std::shared_ptr<TableState> table_state;
  error = dictionary::find(kept, &table_state);
  if (error == HA_ERR_NO_SUCH_TABLE) return 0;
  if (error == 0) error = dictionary::remove(trx.txn(), kept);
  if (error == 0) trx.drop_on_commit(table_state->index_ids(), kept);
  return error;
}

/// The same table in new, empty indexes.
int renew(const TableDef &old_def, TableDef *def) {
  *def = old_def;
  uint32_t first = 0;
  const int error = allocate_indexes(static_cast<uint32_t>(def->indexes.size()), &first);
  if (error != 0) return error;
  def->table_id = first;
  for (IndexDef &index : def->indexes) index.index_id = first++;
  return 0;
}

}  // namespace

int ha_smartengine::create(const char *name, TABLE *form, HA_CREATE_INFO *create_info, dd::Table *table_def) {
  return guarded([&] { return create_table(name, form, create_info, table_def); });
}

int ha_smartengine::create_table(const char *name, TABLE *form, HA_CREATE_INFO *create_info, dd::Table *table_def) {
  THD *thd = ha_thd();
  int error = refuse_unsupported(thd, *create_info);
  if (error != 0) return error;
  if (catalog::Attaching::active() && !is_temporary(*create_info)) return attach(*form, table_def);
  if (create_options::refused(thd, *create_info) != nullptr) return HA_WRONG_CREATE_OPTION;
  warn_of_ignored(thd, *create_info);
  uint32_t first = 0;
  error = allocate_indexes(TableDef::count_indexes(*form->s), &first);
  if (error != 0) return error;
  TableDef def = TableDef::describe(*form->s, first, first);
  const Slice path = table_name_of_path(name);
  def.comment.assign(reinterpret_cast<const char *>(path.data), path.size);
  std::string why;
  if (TableCodec::create(*form->s, def, &why) == nullptr) return refuse(why.c_str());

  const auto table_state = std::make_shared<TableState>(std::move(def), is_temporary(*create_info));
  const uint64_t next = create_info->auto_increment_value;
  if (table_state->is_temporary()) {
    dictionary::remember(table_state);
    if (next > 1) table_state->auto_increment.raise(next);
  } else {
    Trx &trx = Trx::of(thd);
    error = catalog::check_ddl();
    if (error == 0) error = trx.start_ddl(thd);
    if (error == 0) error = make_way(trx, name);
    if (error != 0) return error;
    trx.drop_on_rollback(table_state->index_ids(), table_state->id());
    error = dictionary::put(trx.txn(), table_state);
    if (error == 0) error = catalog::note_create(thd, trx, name, form, table_state->id());
    if (error != 0) return error;
    if (next > 1) {
      table_state->auto_increment.raise(next);
      ByteBuffer key;
      if (!append_counter_key(table_state->id(), &key)) return HA_ERR_OUT_OF_MEM;
      error = ha_error(ffi::txn_raise_counter(trx.txn(), bytes(key.slice()), next - 1), thd);
      if (error != 0) return error;
    }
  }
  table_def->set_se_private_id(table_state->id());
  return 0;
}

int ha_smartengine::delete_table(const char *name, const dd::Table *table_def) {
  return guarded([&] { return table_def == nullptr ? HA_ERR_NO_SUCH_TABLE : drop_table(ha_thd(), name, *table_def); });
}

int ha_smartengine::drop_table(THD *thd, const char *name, const dd::Table &table_def) {
  if (catalog::Attaching::active()) return 0;
  const uint64_t table_id = table_def.se_private_id();
  std::shared_ptr<TableState> table_state;
  int error = dictionary::find(table_id, &table_state);
  // A table that was lost on this side can still be dropped on the server's.
  if (error == HA_ERR_NO_SUCH_TABLE) return 0;
  if (error != 0) return error;
  Trx &trx = Trx::of(thd);
  if (table_state->is_temporary()) {
    trx.drop_at_end(table_state->index_ids(), table_id);
    return 0;
  }
  error = catalog::check_ddl();
  if (error == 0) error = trx.start_ddl(thd);
  if (error != 0) return error;
  error = dictionary::remove(trx.txn(), table_id);
  if (error == 0) error = catalog::note_drop(trx, name);
  if (error != 0) return error;
  trx.drop_on_commit(table_state->index_ids(), table_id);
  return 0;
}

int ha_smartengine::rename_table(const char *from, const char *to, const dd::Table *from_def, dd::Table *) {
  return guarded([&] {
    THD *thd = ha_thd();
    std::shared_ptr<TableState> table_state;
    int error = dictionary::find(from_def->se_private_id(), &table_state);
    if (error != 0 || table_state->is_temporary()) return error;
    Trx &trx = Trx::of(thd);
    error = catalog::check_ddl();
    if (error == 0) error = trx.start_ddl(thd);
    if (error == 0) error = make_way(trx, to);
    if (error != 0) return error;
    TableDef def = table_state->def();
    const Slice path = table_name_of_path(to);
    def.comment.assign(reinterpret_cast<const char *>(path.data), path.size);
    error = dictionary::replace(trx.txn(), def);
    return error != 0 ? error : catalog::note_rename(trx, from, to);
  });
}

int ha_smartengine::truncate(dd::Table *table_def) {
  return guarded([&] {
    THD *thd = ha_thd();
    const TableState &old_state = state();
    TableDef def;
    int error = renew(old_state.def(), &def);
    if (error != 0) return error;
    const auto renewed = std::make_shared<TableState>(std::move(def), old_state.is_temporary());
    Trx &trx = Trx::of(thd);
    if (renewed->is_temporary()) {
      // The server goes on with this very handler, and there is no other one.
      std::string why;
      std::unique_ptr<TableCodec> made = TableCodec::create(*table_share, renewed->def(), &why);
      if (made == nullptr) return own_error(kErrorInternal, why);
      dictionary::remember(renewed);
      trx.drop_at_end(old_state.index_ids(), old_state.id());
      m_share->replace(renewed, std::move(made));
    } else {
      error = catalog::check_ddl();
      if (error == 0) error = trx.start_ddl(thd);
      if (error != 0) return error;
      trx.drop_on_rollback(renewed->index_ids(), renewed->id());
      error = dictionary::remove(trx.txn(), old_state.id());
      if (error != 0) return error;
      trx.drop_on_commit(old_state.index_ids(), old_state.id());
      error = dictionary::put(trx.txn(), renewed);
      if (error == 0) error = catalog::note_truncate(trx, table_share->normalized_path.str, renewed->id());
      if (error != 0) return error;
    }
    table_def->set_se_private_id(renewed->id());
    return 0;
  });
}

}  // namespace smartengine
