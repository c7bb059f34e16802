// The engine's own dictionary: one row for each table, in index id 0, under the table's id.
//
// The server's data dictionary knows a table's id as `se_private_id`. Names are the server's affair, so a rename
// changes one value here, and a crash in the middle of one leaves nothing to repair. A table's id is the lowest of its
// index ids, which are never used twice.
//
// In memory is what was used since the start, and what a transaction has added but not committed. A temporary table is
// in memory alone: no row names its indexes, so the next start drops them.

#ifndef SMARTENGINE_DICTIONARY_H
#define SMARTENGINE_DICTIONARY_H

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "table/table_state.h"

namespace smartengine::dictionary {

/// Adds a table in the session's transaction.
int put(ffi::TxnHandle &txn, const std::shared_ptr<TableState> &table);
/// Replaces a table's row, in the session's transaction; what is in memory stays, since columns and indexes do.
int replace(ffi::TxnHandle &txn, const TableDef &def);
/// Remembers a table that has no row: a temporary one.
void remember(const std::shared_ptr<TableState> &table);
/// Deletes a table's row in the session's transaction.
int remove(ffi::TxnHandle &txn, uint64_t table_id);
/// The table of this id: from memory, else its committed row. HA_ERR_NO_SUCH_TABLE if there is none.
int find(uint64_t table_id, std::shared_ptr<TableState> *table);
/// The rows of a table that was just made are seen from `seq` on.
void note_visible(uint64_t table_id, uint64_t seq);
/// Drops a table from memory.
void forget(uint64_t table_id);
void forget_all();

/// A part of a path, as users write it.
std::string decoded_name(const std::string &name);

/// What an index is called.
struct IndexName {
  std::string schema;
  std::string table;
  std::string index;
};

/// The names of all indexes of the tables in memory, by index id: of every table that a running transaction may have
/// locked anything in.
std::unordered_map<uint32_t, IndexName> index_names();

/// The tables that these indexes belong to, as the server names their files: schema/table. None of those whose rows
/// cannot be read.
std::vector<std::string> paths_of(const std::vector<uint32_t> &indexes);

/// How many indexes hold rows and belong to no table: none, except while a statement makes or drops one. False if that cannot be found out.
bool count_unnamed_indexes(uint32_t *count);

/// Drops every index that no row names and no prepared transaction writes to. At start, once the server has decided every transaction.
void drop_unnamed_indexes();

}  // namespace smartengine::dictionary

#endif  // SMARTENGINE_DICTIONARY_H
