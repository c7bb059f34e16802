// Transactions and locks as tables: information_schema.SMARTENGINE_TRX and SMARTENGINE_LOCKS.

#ifndef SMARTENGINE_LOCK_TABLES_H
#define SMARTENGINE_LOCK_TABLES_H

#include <string>

#include "smartengine-ffi/src/bridge.rs.h"

namespace smartengine::lock_tables {

/// For the plugins' declarations: what sets up the tables.
int init_trx(void *table);
int init_locks(void *table);

/// A lock for a person: its mode, its index's id, and what follows that in its key, in hexadecimal digits.
const char *mode_name(const ffi::LockRow &lock);
uint32_t index_of(const rust::Vec<uint8_t> &key);
std::string key_text(const rust::Vec<uint8_t> &key);

}  // namespace smartengine::lock_tables

#endif  // SMARTENGINE_LOCK_TABLES_H
