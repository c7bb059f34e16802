// What makes the text of a stored program that can be run out of the one that the server shows.
//
// SHOW CREATE puts together what was kept in two ways: a head, with names, the definer, the type of a result and the comment, in utf8mb4 and with
// backslash escapes whatever the sql_mode; and the parameters and the body, as their client sent them. The whole is declared to be in that client's
// character set.

#ifndef SMARTENGINE_CATALOG_TEXT_H
#define SMARTENGINE_CATALOG_TEXT_H

#include <string>

#include "catalog/entry.h"

namespace smartengine::catalog {

struct Statement {
  std::string sql;
  std::string client;  ///< The character set to run it in.
};

/// Of a routine, trigger or event. One whose names its client's character set does not have is given whole in utf8mb4.
Statement statement_of(const Entry &entry);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_TEXT_H
