// The catalog's entries of SMARTENGINE tables: they change in the DDL's own transaction, so a table, the engine's dictionary
// and the catalog are changed together or not at all.
//
//   CREATE      the entry, from the TABLE that is being created
//   ALTER       by copying: that of the new table, under the name it is given at the end; in place: the text alone
//   RENAME      the entry moves
//   TRUNCATE    the entry names the new table id
//   DROP        the entry goes
//
// What a rename changes inside the text (names of check constraints) is read again after the statement (capture.h).
//
// A replay goes the other way: the catalog has the table, and CREATE TABLE is to make it known to the server alone. It says so by
// `Attaching`; the handler then binds the table id it names, and DROP TABLE leaves the engine's rows alone.

#ifndef SMARTENGINE_CATALOG_TABLES_H
#define SMARTENGINE_CATALOG_TABLES_H

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "catalog/entry.h"

class THD;
struct TABLE;

namespace dd {
class Table;
}

namespace smartengine {
class Trx;
}

namespace smartengine::catalog {

/// While it lives, CREATE TABLE and DROP TABLE of this thread change the server's dictionary alone.
class Attaching {
 public:
  Attaching();
  ~Attaching();
  Attaching(const Attaching &) = delete;
  Attaching &operator=(const Attaching &) = delete;

  /// What the next CREATE TABLE binds.
  static void bind(uint64_t table_id);
  static bool active();
  static uint64_t table_id();
};

// Called by the handler, in the session's transaction, which has been started; paths as the server gives them. 0 or an error number.

/// The id of the table of this name that could not be made again, and is kept in the store; 0 if there is none.
int find_kept(Trx &trx, const char *path, uint64_t *table_id);
int note_create(THD *thd, Trx &trx, const char *path, TABLE *form, uint64_t table_id);
int note_rename(Trx &trx, const char *from, const char *to);
int note_truncate(Trx &trx, const char *path, uint64_t table_id);
int note_drop(Trx &trx, const char *path);
/// The table's definition is now that of `form`, in the same indexes.
int note_alter(THD *thd, Trx &trx, const char *path, TABLE *form);

/// Refuses DDL where the catalog cannot take it: an error number, else 0.
int check_ddl();

/// The engine of SHOW CREATE TABLE's text, and what the catalog keeps of it: what follows the name. Empty if it is no such text.
struct TableText {
  std::string engine;
  std::string body;
};
TableText parse_table_text(const std::string &text);

/// The same definition, without the collations that columns have from their table. SHOW CREATE TABLE prints them too where they are not the character
/// set's default, and a column that is made by such a text would keep its collation for its own, and show it differently.
std::string without_inherited_collations(const std::string &body);

/// Tells whether a table was changed since: what was read before and not in a DDL's transaction must not replace what that writes.
class TableVersions {
 public:
  void bump(const Name &table);
  uint64_t of(const Name &table);
  /// Held while what was read is written.
  std::mutex &gate() { return m_gate; }
  uint64_t of_locked(const Name &table) const;

 private:
  std::mutex m_gate;
  std::map<Name, uint64_t> m_versions;
};

TableVersions &table_versions();

/// The id that the server's dictionary has for a table; 0 if it has no such table.
uint64_t bound_id(THD *thd, const Name &table);

/// The name of a table of this path.
Name table_name(const char *path);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_TABLES_H
