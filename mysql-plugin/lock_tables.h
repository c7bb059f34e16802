// Transactions and locks as tables: information_schema.SMARTENGINE_TRX and SMARTENGINE_LOCKS.

#ifndef SMARTENGINE_LOCK_TABLES_H
#define SMARTENGINE_LOCK_TABLES_H

namespace smartengine::lock_tables {

/// For the plugins' declarations: what describes an information_schema table, and what sets it up.
extern int descriptor;
int init_trx(void *table);
int init_locks(void *table);

}  // namespace smartengine::lock_tables

#endif  // SMARTENGINE_LOCK_TABLES_H
