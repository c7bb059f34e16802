#include "server/sysvars.h"

#include <string>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/settings.h"
#include "compat.h"
#include "mysql/plugin.h"
#include "mysqld_error.h"
#include "server/version.h"
#include "sql/mysqld.h"

namespace smartengine::sysvars {

namespace {

constexpr unsigned long long kKib = 1024;
constexpr unsigned long long kMib = 1024 * kKib;
constexpr unsigned long long kGib = 1024 * kMib;
constexpr unsigned long long kTib = 1024 * kGib;
constexpr unsigned long kDurabilityLocal = 0;
constexpr unsigned long kDurabilityObject = 1;

// Nobody writes to it.
char *version_text = const_cast<char *>(version::text());
char *data_dir;
char *wal_dir;
char *store_url;
char *objectstore_endpoint;
char *objectstore_region;
char *objectstore_ca_file;
unsigned long objectstore_path_style;
unsigned long long objectstore_request_timeout_ms;
unsigned long long objectstore_deadline_ms;
unsigned long long objectstore_max_connections;
char *compression_per_level;
char *persistent_cache_dir;
unsigned long long persistent_cache_size;
unsigned long long block_size_bytes;
unsigned long long block_cache_size_bytes;
unsigned long long memtable_size;
unsigned long long total_memtable_size;
unsigned long long total_wal_size;
unsigned long long rate_limiter_bytes_per_sec;
unsigned long long max_row_locks;
unsigned long long transaction_memory;
unsigned int compaction_threads;
unsigned int level0_file_num_compaction_trigger;
unsigned long flush_log_at_trx_commit;
unsigned long long wal_upload_size;
unsigned long long max_unuploaded_wal;
unsigned int wal_upload_interval_ms;
unsigned int wal_upload_threads;
unsigned int store_wait_timeout;
unsigned int gc_grace_period;
bool accept_lost_log;
bool replace_kept_tables;
bool disable_auto_compactions;
bool pause_background_work;
bool flush_memtable;
bool compact;

const char *path_style_names[] = {"AUTO", "OFF", "ON", nullptr};
TYPELIB path_styles = {3, "path styles", path_style_names, nullptr};

void report(const ffi::Status &status) {
  const int error = ha_error(status, nullptr);
  if (error != 0) raise(error);
}

/// Sets the variable, then hands the engine all of them: it takes what changed.
template <typename T>
void update(THD *, SYS_VAR *, void *target, const void *value) {
  *static_cast<T *>(target) = *static_cast<const T *>(value);
  if (is_open()) report(ffi::engine_set_options(engine(), dynamic_options()));
}

/// The triggers act while the value is checked, since only there can they refuse.
template <ffi::Status (*action)(const ffi::EngineHandle &) noexcept>
int trigger(THD *, SYS_VAR *, void *save, st_mysql_value *value) {
  long long number = 0;
  value->val_int(value, &number);
  *static_cast<bool *>(save) = false;
  if (number == 0) return 0;
  if (!is_open()) return 1;
  const ffi::Status status = action(engine());
  report(status);
  return ok(status) ? 0 : 1;
}

void forget(THD *, SYS_VAR *, void *target, const void *) { *static_cast<bool *>(target) = false; }

MYSQL_SYSVAR_STR(version, version_text, PLUGIN_VAR_NOCMDOPT | PLUGIN_VAR_READONLY,
                 "Version of the plugin, of the server that it was built for, and of the formats that it writes.", nullptr, nullptr,
                 version::text());
MYSQL_SYSVAR_STR(data_dir, data_dir, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "Directory of the engine's local files; empty: .smartengine in the server's data directory.", nullptr, nullptr, "");
MYSQL_SYSVAR_STR(wal_dir, wal_dir, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "Directory of the local write-ahead log; empty: wal in smartengine_data_dir.", nullptr, nullptr, "");
MYSQL_SYSVAR_BOOL(accept_lost_log, accept_lost_log, PLUGIN_VAR_OPCMDARG | PLUGIN_VAR_READONLY,
                  "Start although the store's write-ahead log is not in smartengine_wal_dir; commits that were in it alone are lost.",
                  nullptr, nullptr, false);
MYSQL_SYSVAR_BOOL(replace_kept_tables, replace_kept_tables, PLUGIN_VAR_OPCMDARG,
                  "A table may be given the name of one in the store that could not be made again at the start, which is dropped then.",
                  nullptr, nullptr, false);
MYSQL_SYSVAR_STR(
    store_url, store_url, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
    "Where the data lives, s3://bucket/prefix or file:///directory; credentials come from the server's environment, a profile or "
    "a role. The log is kept there as well, so that the server may lose its disk. Empty: the data is in smartengine_data_dir, and "
    "the log in smartengine_wal_dir alone.",
    nullptr, nullptr, "");
MYSQL_SYSVAR_STR(persistent_cache_dir, persistent_cache_dir, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "Directory of the local cache of the store's objects; empty: cache in smartengine_data_dir.", nullptr, nullptr, "");
MYSQL_SYSVAR_ULONGLONG(persistent_cache_size, persistent_cache_size, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                       "Bytes of local disk that hold pieces of the store's objects, kept across restarts; 0: none, else at least 2 MiB.",
                       nullptr, nullptr, 0, 0, 1024 * kTib, 2 * kMib);
MYSQL_SYSVAR_STR(objectstore_endpoint, objectstore_endpoint, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "S3 server, https://host:port; empty: S3 itself in its region. What smartengine_store_url says takes precedence.", nullptr,
                 nullptr, "");
MYSQL_SYSVAR_STR(objectstore_region, objectstore_region, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "Region of the bucket; empty: what the environment or a profile says, else us-east-1.", nullptr, nullptr, "");
MYSQL_SYSVAR_ENUM(objectstore_path_style, objectstore_path_style, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                  "Whether requests name the bucket in the path and not in the host; AUTO: if there is an endpoint.", nullptr, nullptr, 0,
                  &path_styles);
MYSQL_SYSVAR_STR(objectstore_ca_file, objectstore_ca_file, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "File of PEM certificates that are trusted beside the system's.", nullptr, nullptr, "");
MYSQL_SYSVAR_ULONGLONG(objectstore_request_timeout_ms, objectstore_request_timeout_ms, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                       "Milliseconds that one attempt at a request may take, and a second more for each MiB in it.", nullptr, nullptr,
                       10'000, 100, 3'600'000, 0);
MYSQL_SYSVAR_ULONGLONG(objectstore_deadline_ms, objectstore_deadline_ms, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                       "Milliseconds that a request may take with all its attempts.", nullptr, nullptr, 60'000, 100, 86'400'000, 0);
MYSQL_SYSVAR_ULONGLONG(objectstore_max_connections, objectstore_max_connections, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                       "Requests that may be under way at once.", nullptr, nullptr, 64, 1, 10'000, 0);
MYSQL_SYSVAR_STR(compression_per_level, compression_per_level, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                 "Compression of each level from level 0 on, separated by colons, of none, lz4, zstd; the last one "
                 "holds for all further "
                 "levels.",
                 nullptr, nullptr, "lz4:lz4:zstd");
MYSQL_SYSVAR_ULONGLONG(block_size, block_size_bytes, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                       "Size of a data block before compression, in bytes.", nullptr, nullptr, 16 * kKib, kKib, kMib, kKib);
MYSQL_SYSVAR_ULONGLONG(block_cache_size, block_cache_size_bytes, PLUGIN_VAR_RQCMDARG, "Memory for uncompressed blocks, in bytes.", nullptr,
                       update<unsigned long long>, 128 * kMib, kMib, 16 * kTib, 0);
MYSQL_SYSVAR_ULONGLONG(memtable_size, memtable_size, PLUGIN_VAR_RQCMDARG, "Size at which a memtable is closed and written out, in bytes.",
                       nullptr, update<unsigned long long>, 128 * kMib, kMib, 64 * kGib, 0);
MYSQL_SYSVAR_ULONGLONG(total_memtable_size, total_memtable_size, PLUGIN_VAR_RQCMDARG,
                       "Memory for all memtables, those being written out included, in bytes.", nullptr, update<unsigned long long>,
                       512 * kMib, kMib, kTib, 0);
MYSQL_SYSVAR_ULONGLONG(total_wal_size, total_wal_size, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                       "Size of the local write-ahead log at which memtables are written out, in bytes.", nullptr, nullptr, kGib, kMib,
                       kTib, 0);
MYSQL_SYSVAR_ULONGLONG(rate_limiter_bytes_per_sec, rate_limiter_bytes_per_sec, PLUGIN_VAR_RQCMDARG,
                       "Bytes a second that flushes and compactions may write; 0: no limit.", nullptr, update<unsigned long long>, 0, 0,
                       kTib, 0);
MYSQL_SYSVAR_ULONGLONG(max_row_locks, max_row_locks, PLUGIN_VAR_RQCMDARG, "Row locks that one transaction may hold.", nullptr,
                       update<unsigned long long>, kGib, 1, 16 * kGib, 0);
MYSQL_SYSVAR_ULONGLONG(transaction_memory, transaction_memory, PLUGIN_VAR_RQCMDARG,
                       "Memory for the writes of one transaction, in bytes; what is beyond goes to local files until it commits.", nullptr,
                       update<unsigned long long>, 32 * kMib, 64 * kKib, kTib, 0);
MYSQL_SYSVAR_UINT(compaction_threads, compaction_threads, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY, "Threads that compact.", nullptr,
                  nullptr, 1, 1, 64, 0);
MYSQL_SYSVAR_UINT(level0_file_num_compaction_trigger, level0_file_num_compaction_trigger, PLUGIN_VAR_RQCMDARG,
                  "Sorted runs in level 0 at which it is compacted: what one flush writes is one, however many files.", nullptr,
                  update<unsigned int>, 4, 1, 1024, 0);
MYSQL_SYSVAR_ULONG(flush_log_at_trx_commit, flush_log_at_trx_commit, PLUGIN_VAR_RQCMDARG,
                   "1: the log is synced at each commit; 0 and 2: it is written at each commit and synced about once a second.", nullptr,
                   update<unsigned long>, 1, 0, 2, 0);
MYSQL_SYSVAR_BOOL(disable_auto_compactions, disable_auto_compactions, PLUGIN_VAR_OPCMDARG, "Compact only when asked to.", nullptr,
                  update<bool>, false);
MYSQL_SYSVAR_BOOL(pause_background_work, pause_background_work, PLUGIN_VAR_OPCMDARG, "Hold back flushes and compactions.", nullptr,
                  update<bool>, false);
MYSQL_SYSVAR_BOOL(flush_memtable, flush_memtable, PLUGIN_VAR_OPCMDARG, "Set to 1 to write all memtables to the store.",
                  trigger<ffi::engine_flush>, forget, false);
MYSQL_SYSVAR_BOOL(compact, compact, PLUGIN_VAR_OPCMDARG, "Set to 1 to compact everything to the bottom level.",
                  trigger<ffi::engine_compact>, forget, false);
MYSQL_SYSVAR_UINT(wal_upload_interval_ms, wal_upload_interval_ms, PLUGIN_VAR_RQCMDARG,
                  "Milliseconds after which a commit that nobody waits for is sent to the store: what losing the disk may lose.", nullptr,
                  update<unsigned int>, 200, 1, 60000, 0);
MYSQL_SYSVAR_ULONGLONG(wal_upload_size, wal_upload_size, PLUGIN_VAR_RQCMDARG, "Bytes of log at which they are sent to the store sooner.",
                       nullptr, update<unsigned long long>, 2 * kMib, 64 * kKib, kGib, 0);
MYSQL_SYSVAR_UINT(wal_upload_threads, wal_upload_threads, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                  "Pieces of the log that are on their way to the store at once.", nullptr, nullptr, 16, 1, 64, 0);
MYSQL_SYSVAR_ULONGLONG(max_unuploaded_wal, max_unuploaded_wal, PLUGIN_VAR_RQCMDARG,
                       "Bytes of log that may wait for a store that is out of reach before writes wait too.", nullptr,
                       update<unsigned long long>, kGib, kMib, kTib, 0);
MYSQL_SYSVAR_UINT(store_wait_timeout, store_wait_timeout, PLUGIN_VAR_RQCMDARG,
                  "Seconds that a write waits for a store that is out of reach, once it has to, before it fails.", nullptr,
                  update<unsigned int>, 30, 1, 86400, 0);
MYSQL_SYSVAR_UINT(gc_grace_period, gc_grace_period, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                  "Seconds that objects which are no longer needed are kept in the store for those who may still read them.", nullptr,
                  nullptr, 600, 0, 31536000, 0);

const char *durabilities[] = {"local", "object", nullptr};
TYPELIB durability_names = {2, "", durabilities, nullptr};

MYSQL_THDVAR_ENUM(
    commit_durability, PLUGIN_VAR_RQCMDARG,
    "When a commit is acknowledged: local, once it is in the local log, as smartengine_flush_log_at_trx_commit says; object, once "
    "it is in the store.",
    nullptr, nullptr, kDurabilityLocal, &durability_names);
MYSQL_THDVAR_ULONG(lock_wait_timeout, PLUGIN_VAR_RQCMDARG, "Seconds to wait for a row lock.", nullptr, nullptr, 50, 1, 1073741824, 0);

std::string text(const char *value) { return value == nullptr ? std::string() : std::string(value); }

std::string absolute(const std::string &path) {
  if (!path.empty() && path.front() == '/') return path;
  std::string base(mysql_real_data_home);
  if (!base.empty() && base.back() != '/') base.push_back('/');
  return base + path;
}

}  // namespace

SYS_VAR *all[] = {MYSQL_SYSVAR(version),
                  MYSQL_SYSVAR(data_dir),
                  MYSQL_SYSVAR(wal_dir),
                  MYSQL_SYSVAR(accept_lost_log),
                  MYSQL_SYSVAR(replace_kept_tables),
                  MYSQL_SYSVAR(store_url),
                  MYSQL_SYSVAR(persistent_cache_dir),
                  MYSQL_SYSVAR(persistent_cache_size),
                  MYSQL_SYSVAR(objectstore_endpoint),
                  MYSQL_SYSVAR(objectstore_region),
                  MYSQL_SYSVAR(objectstore_path_style),
                  MYSQL_SYSVAR(objectstore_ca_file),
                  MYSQL_SYSVAR(objectstore_request_timeout_ms),
                  MYSQL_SYSVAR(objectstore_deadline_ms),
                  MYSQL_SYSVAR(objectstore_max_connections),
                  MYSQL_SYSVAR(compression_per_level),
                  MYSQL_SYSVAR(block_size),
                  MYSQL_SYSVAR(block_cache_size),
                  MYSQL_SYSVAR(memtable_size),
                  MYSQL_SYSVAR(total_memtable_size),
                  MYSQL_SYSVAR(total_wal_size),
                  MYSQL_SYSVAR(rate_limiter_bytes_per_sec),
                  MYSQL_SYSVAR(max_row_locks),
                  MYSQL_SYSVAR(transaction_memory),
                  MYSQL_SYSVAR(compaction_threads),
                  MYSQL_SYSVAR(level0_file_num_compaction_trigger),
                  MYSQL_SYSVAR(flush_log_at_trx_commit),
                  MYSQL_SYSVAR(wal_upload_interval_ms),
                  MYSQL_SYSVAR(wal_upload_size),
                  MYSQL_SYSVAR(wal_upload_threads),
                  MYSQL_SYSVAR(max_unuploaded_wal),
                  MYSQL_SYSVAR(store_wait_timeout),
                  MYSQL_SYSVAR(gc_grace_period),
                  MYSQL_SYSVAR(commit_durability),
                  MYSQL_SYSVAR(disable_auto_compactions),
                  MYSQL_SYSVAR(pause_background_work),
                  MYSQL_SYSVAR(flush_memtable),
                  MYSQL_SYSVAR(compact),
                  MYSQL_SYSVAR(lock_wait_timeout),
                  nullptr};

ffi::EngineOptions engine_options() {
  const std::string data = absolute(text(data_dir).empty() ? ".smartengine" : text(data_dir));
  const std::string wal = text(wal_dir).empty() ? data + "/wal" : absolute(text(wal_dir));
  ffi::EngineOptions options;
  options.data_dir = data;
  options.wal_dir = wal;
  options.store_url = text(store_url);
  options.store_endpoint = text(objectstore_endpoint);
  options.store_region = text(objectstore_region);
  options.store_path_style = static_cast<ffi::PathStyle>(objectstore_path_style);
  options.store_ca_file = text(objectstore_ca_file).empty() ? std::string() : absolute(text(objectstore_ca_file));
  options.store_request_timeout_ms = objectstore_request_timeout_ms;
  options.store_deadline_ms = objectstore_deadline_ms;
  options.store_max_connections = objectstore_max_connections;
  options.accept_lost_log = accept_lost_log;
  options.persistent_cache_size = persistent_cache_size;
  options.persistent_cache_dir = text(persistent_cache_dir).empty() ? data + "/cache" : absolute(text(persistent_cache_dir));
  options.block_size = block_size_bytes;
  options.block_cache_size = block_cache_size_bytes;
  options.memtable_size = memtable_size;
  options.total_memtable_size = total_memtable_size;
  options.total_wal_size = total_wal_size;
  options.compaction_threads = compaction_threads;
  options.level0_file_num_compaction_trigger = level0_file_num_compaction_trigger;
  options.rate_limiter_bytes_per_sec = rate_limiter_bytes_per_sec;
  options.compression_per_level = text(compression_per_level);
  options.max_row_locks = max_row_locks;
  options.transaction_memory = transaction_memory;
  options.flush_log_at_trx_commit = static_cast<uint32_t>(flush_log_at_trx_commit);
  options.disable_auto_compactions = disable_auto_compactions;
  options.wal_upload_interval_ms = wal_upload_interval_ms;
  options.wal_upload_size = wal_upload_size;
  options.wal_upload_threads = wal_upload_threads;
  options.max_unuploaded_wal = max_unuploaded_wal;
  options.store_wait_timeout = store_wait_timeout;
  options.gc_grace_period = gc_grace_period;
  options.server_version = MYSQL_VERSION_ID;
  options.newest_server_version = kNewestServerVersion;
  options.writer = text(glob_hostname) + ":" + std::to_string(mysqld_port) + ":" + std::to_string(current_pid);
  return options;
}

ffi::DynamicOptions dynamic_options() {
  ffi::DynamicOptions options;
  options.block_cache_size = block_cache_size_bytes;
  options.memtable_size = memtable_size;
  options.total_memtable_size = total_memtable_size;
  options.level0_file_num_compaction_trigger = level0_file_num_compaction_trigger;
  options.rate_limiter_bytes_per_sec = rate_limiter_bytes_per_sec;
  options.flush_log_at_trx_commit = static_cast<uint32_t>(flush_log_at_trx_commit);
  options.max_row_locks = max_row_locks;
  options.transaction_memory = transaction_memory;
  options.disable_auto_compactions = disable_auto_compactions;
  options.pause_background_work = pause_background_work;
  options.wal_upload_interval_ms = wal_upload_interval_ms;
  options.wal_upload_size = wal_upload_size;
  options.max_unuploaded_wal = max_unuploaded_wal;
  options.store_wait_timeout = store_wait_timeout;
  return options;
}

}  // namespace smartengine::sysvars

namespace smartengine::settings {

using namespace sysvars;

uint64_t lock_wait_timeout_ms(THD *thd) { return static_cast<uint64_t>(THDVAR(thd, lock_wait_timeout)) * 1000; }

bool commit_durability_is_object(THD *thd) { return THDVAR(thd, commit_durability) == kDurabilityObject; }

bool may_replace_kept_tables() { return replace_kept_tables; }

uint64_t block_size() { return block_size_bytes; }

uint64_t block_cache_size() { return block_cache_size_bytes; }

}  // namespace smartengine::settings
