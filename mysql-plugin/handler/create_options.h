// ROW_FORMAT and KEY_BLOCK_SIZE. They are kept and change nothing here, but what InnoDB refuses of them is refused as well, so that a
// statement has one answer on both engines.
//
// InnoDB goes by innodb_strict_mode, which is its own; here it is sql_mode. Without a strict one the option is kept and a warning says that it is
// ignored.

#ifndef SMARTENGINE_CREATE_OPTIONS_H
#define SMARTENGINE_CREATE_OPTIONS_H

#include "compat.h"

namespace smartengine::create_options {

/// Warns of what is wrong with the options that the statement names; the option for which it is to be refused, or null.
const char *refused(THD *thd, const HA_CREATE_INFO &create_info);

}  // namespace smartengine::create_options

#endif  // SMARTENGINE_CREATE_OPTIONS_H
