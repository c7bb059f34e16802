#include "server/object_store_table.h"

#include <string>

#include "base/engine.h"
#include "compat.h"
#include "server/schema_table.h"
#include "sql/auth/auth_acls.h"
#include "sql/auth/auth_common.h"

namespace smartengine::object_store_table {

using namespace schema_table;

namespace {

ST_FIELD_INFO fields[] = {text("REQUEST", 32),
                          number("REQUESTS"),
                          number("ERRORS"),
                          number("RETRIES"),
                          number("BYTES_SENT"),
                          number("BYTES_RECEIVED"),
                          number("LATENCY_SUM_MICROS"),
                          number("LATENCY_MAX_MICROS"),
                          number("LATENCY_P50_MICROS"),
                          number("LATENCY_P99_MICROS"),
                          end()};

int fill(THD *thd, Table_ref *tables, Item *) {
  if (check_global_access(thd, PROCESS_ACL)) return 1;
  if (!is_open()) return 0;
  for (const ffi::ObjectStoreRow &kind : ffi::engine_object_store(engine())) {
    const ffi::StoreRequests &all = kind.all;
    Row(tables->table)
        .add(std::string(kind.kind))
        .add(all.requests)
        .add(all.errors)
        .add(all.retries)
        .add(all.bytes_sent)
        .add(all.bytes_received)
        .add(all.micros)
        .add(kind.longest)
        .add(kind.p50)
        .add(kind.p99);
    if (schema_table_store_record(thd, tables->table)) return 1;
  }
  return 0;
}

}  // namespace

int init(void *table) {
  auto *schema = static_cast<ST_SCHEMA_TABLE *>(table);
  schema->fields_info = fields;
  schema->fill_table = fill;
  return 0;
}

}  // namespace smartengine::object_store_table
