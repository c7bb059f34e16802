// Which columns a foreign key may connect: those whose values can be looked for in each other's index.

#ifndef SMARTENGINE_FOREIGN_COLUMNS_H
#define SMARTENGINE_FOREIGN_COLUMNS_H

#include "compat.h"

namespace smartengine::foreign {

/// handlerton::check_fk_column_compat. As InnoDB, except that DECIMAL, BIT and the times with parts of a second go with their own type alone:
/// there it takes them for bytes that never match.
bool can_refer(const Ha_fk_column_type *child, const Ha_fk_column_type *parent, bool check_charsets);

}  // namespace smartengine::foreign

#endif  // SMARTENGINE_FOREIGN_COLUMNS_H
