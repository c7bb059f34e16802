// Definitions as the server's dictionary has them now: what its SHOW CREATE statements say, as entries of the catalog.

#ifndef SMARTENGINE_CATALOG_READER_H
#define SMARTENGINE_CATALOG_READER_H

#include <string>
#include <vector>

#include "catalog/entry.h"
#include "catalog/sql_session.h"

namespace smartengine::catalog {

enum class Found : uint8_t {
  kYes,
  kNo,
  kElsewhere,  ///< A table of another engine: `Entry::fields` has the engine's name.
  kFailed,     ///< It could not be read now: `SqlSession::message` says why.
};

/// Reads one object. A name of Kind::kTable or kView may turn out to be of the other kind, and gets the right one. The name's letter case becomes
/// the server's. A table's id is not filled in.
Found read(SqlSession &session, const Name &name, Entry *entry);

/// The names of all that is not the server's own; false with `SqlSession::message`. Tables are listed with their engine.
struct Listed {
  Name name;
  std::string engine;
};
bool list(SqlSession &session, Kind kind, std::vector<Listed> *names);
/// All of them.
bool list_all(SqlSession &session, std::vector<Listed> *names);
/// The triggers of one table, in their order.
bool list_triggers(SqlSession &session, const std::string &schema, const std::string &table, std::vector<Name> *names);

/// Whether a schema is the server's own.
bool is_system_schema(const std::string &schema);
bool is_system_account(const Name &account);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_READER_H
