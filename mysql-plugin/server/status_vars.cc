#include "server/status_vars.h"

#include "base/engine.h"
#include "base/row_counts.h"
#include "compat.h"
#include "mysql/status_var.h"

namespace smartengine::status_vars {

namespace {

/// What SHOW STATUS prints; each thread has its own, so that no thread sees half of another's.
struct Shown {
  RowCounts rows;
  ffi::EngineStats stats;
};

thread_local Shown shown;

SHOW_VAR entry(const char *name, uint64_t *value) { return {name, reinterpret_cast<char *>(value), SHOW_LONGLONG, SHOW_SCOPE_GLOBAL}; }

int show(THD *, SHOW_VAR *var, char *) {
  shown.rows = total_row_counts();
  if (is_open()) shown.stats = ffi::engine_stats(engine());
  ffi::EngineStats &stats = shown.stats;
  thread_local SHOW_VAR variables[] = {
      entry("rows_read", &shown.rows.read),
      entry("rows_inserted", &shown.rows.inserted),
      entry("rows_updated", &shown.rows.updated),
      entry("rows_deleted", &shown.rows.deleted),
      entry("memtable_bytes", &stats.memtable_bytes),
      entry("immutable_memtables", &stats.immutable_memtables),
      entry("block_cache_bytes", &stats.block_cache_bytes),
      entry("block_cache_hits", &stats.block_cache_hits),
      entry("block_cache_misses", &stats.block_cache_misses),
      entry("filter_hits", &stats.filter_hits),
      entry("filter_misses", &stats.filter_misses),
      entry("persistent_cache_bytes", &stats.persistent_cache_bytes),
      entry("persistent_cache_hits", &stats.persistent_cache_hits),
      entry("persistent_cache_misses", &stats.persistent_cache_misses),
      entry("persistent_cache_hit_bytes", &stats.persistent_cache_hit_bytes),
      entry("persistent_cache_fetched_bytes", &stats.persistent_cache_fetched_bytes),
      entry("persistent_cache_written_bytes", &stats.persistent_cache_written_bytes),
      entry("persistent_cache_evictions", &stats.persistent_cache_evictions),
      entry("persistent_cache_damaged", &stats.persistent_cache_damaged),
      entry("wal_bytes_written", &stats.wal_bytes_written),
      entry("wal_appends", &stats.wal_appends),
      entry("wal_synced", &stats.wal_syncs),
      entry("wal_group_syncs", &stats.wal_group_commits),
      entry("wal_chunks_uploaded", &stats.wal_chunks_uploaded),
      entry("wal_bytes_uploaded", &stats.wal_bytes_uploaded),
      entry("wal_bytes_waiting", &stats.wal_bytes_waiting),
      entry("wal_upload_failing", &stats.wal_upload_failing),
      entry("commits", &stats.commits),
      entry("rollbacks", &stats.rollbacks),
      entry("flushes", &stats.flushes),
      entry("flush_bytes", &stats.flush_bytes),
      entry("compactions", &stats.compactions),
      entry("compaction_read_bytes", &stats.compaction_read_bytes),
      entry("compaction_write_bytes", &stats.compaction_write_bytes),
      entry("stall_micros", &stats.stall_micros),
      entry("stalls", &stats.stalls),
      entry("sst_files", &stats.sst_files),
      entry("sst_bytes", &stats.sst_bytes),
      entry("row_locks", &stats.row_locks),
      entry("lock_waits", &stats.lock_waits),
      entry("lock_timeouts", &stats.lock_timeouts),
      entry("deadlocks", &stats.deadlocks),
      entry("active_transactions", &stats.active_transactions),
      entry("snapshots", &stats.snapshots),
      entry("spilled_transactions", &stats.spilled_transactions),
      entry("spilled_bytes", &stats.spilled_bytes),
      entry("ingested_files", &stats.ingested_files),
      entry("ingested_bytes", &stats.ingested_bytes),
      entry("object_store_put_requests", &stats.object_store_put.requests),
      entry("object_store_put_errors", &stats.object_store_put.errors),
      entry("object_store_put_retries", &stats.object_store_put.retries),
      entry("object_store_put_bytes", &stats.object_store_put.bytes_sent),
      entry("object_store_put_micros", &stats.object_store_put.micros),
      entry("object_store_get_requests", &stats.object_store_get.requests),
      entry("object_store_get_errors", &stats.object_store_get.errors),
      entry("object_store_get_retries", &stats.object_store_get.retries),
      entry("object_store_get_bytes", &stats.object_store_get.bytes_received),
      entry("object_store_get_micros", &stats.object_store_get.micros),
      entry("object_store_list_requests", &stats.object_store_list.requests),
      entry("object_store_list_errors", &stats.object_store_list.errors),
      entry("object_store_list_retries", &stats.object_store_list.retries),
      entry("object_store_list_micros", &stats.object_store_list.micros),
      entry("object_store_delete_requests", &stats.object_store_delete.requests),
      entry("object_store_delete_errors", &stats.object_store_delete.errors),
      entry("object_store_delete_retries", &stats.object_store_delete.retries),
      entry("object_store_delete_micros", &stats.object_store_delete.micros),
      {nullptr, nullptr, SHOW_UNDEF, SHOW_SCOPE_UNDEF},
  };
  var->type = SHOW_ARRAY;
  var->value = reinterpret_cast<char *>(variables);
  return 0;
}

}  // namespace

SHOW_VAR all[] = {{"Smartengine", reinterpret_cast<char *>(show), SHOW_FUNC, SHOW_SCOPE_GLOBAL},
                  {nullptr, nullptr, SHOW_UNDEF, SHOW_SCOPE_UNDEF}};

}  // namespace smartengine::status_vars
