// Requests to the object store as a table: information_schema.SMARTENGINE_OBJECT_STORE.

#ifndef SMARTENGINE_OBJECT_STORE_TABLE_H
#define SMARTENGINE_OBJECT_STORE_TABLE_H

namespace smartengine::object_store_table {

/// For the plugin's declaration: what sets up the table.
int init(void *table);

}  // namespace smartengine::object_store_table

#endif  // SMARTENGINE_OBJECT_STORE_TABLE_H
