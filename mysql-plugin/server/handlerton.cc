#include "server/handlerton.h"

#include <string>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "catalog/store.h"
#include "compat.h"
#include "handler/ha_smartengine.h"
#include "server/clone.h"
#include "server/show_status.h"
#include "server/sysvars.h"
#include "server/transaction_hooks.h"
#include "server/xa.h"
#include "session/applier_waits.h"
#include "sql/mysqld.h"
#include "table/dictionary.h"

namespace smartengine {

namespace {

handler *create_handler(handlerton *handlerton, TABLE_SHARE *share, bool, MEM_ROOT *root) {
  return new (root) ha_smartengine(handlerton, share);
}

// Without these the server writes an .sdi file beside every table. The store is no tablespace of the server's, so there
// is nothing to keep.
bool sdi_create(dd::Tablespace *) { return false; }
bool sdi_drop(dd::Tablespace *) { return false; }
bool sdi_get_keys(const dd::Tablespace &, sdi_vector_t &) { return false; }
bool sdi_get(const dd::Tablespace &, const sdi_key_t *, void *, uint64 *length) {
  *length = UINT64_MAX;
  return true;
}
bool sdi_set(::handlerton *, const dd::Tablespace &, const dd::Table *, const sdi_key_t *, const void *, uint64) { return false; }
bool sdi_delete(const dd::Tablespace &, const dd::Table *, const sdi_key_t *) { return false; }

// The commit and rollback hooks finish what DDL leaves to do; the server wants the hook of every engine with atomic
// DDL.
void post_ddl(THD *) {}

void post_recover() {
  dictionary::drop_unnamed_indexes();
  catalog::observe_server();
}

void fill(::handlerton *handlerton) {
  handlerton->state = SHOW_OPTION_YES;
  handlerton->db_type = DB_TYPE_UNKNOWN;
  handlerton->create = create_handler;
  handlerton->flags = HTON_SUPPORTS_ATOMIC_DDL | HTON_SUPPORTS_EXTENDED_KEYS | HTON_NO_PARTITION | HTON_SUPPORTS_GENERATED_INVISIBLE_PK |
                      HTON_SUPPORTS_SECONDARY_ENGINE;
  handlerton->sdi_create = sdi_create;
  handlerton->sdi_drop = sdi_drop;
  handlerton->sdi_get_keys = sdi_get_keys;
  handlerton->sdi_get = sdi_get;
  handlerton->sdi_set = sdi_set;
  handlerton->sdi_delete = sdi_delete;
  handlerton->post_ddl = post_ddl;
  handlerton->post_recover = post_recover;
  handlerton->show_status = show_status;
  install_transaction_hooks(handlerton);
}

/// What comes between the engine's open and its first use; false, with the reason in the error log, if it cannot be used.
bool begin(::handlerton *handlerton) {
  // Before the catalog's open holds back events and replication, for an attach that would not come.
  if (!catalog::takes_this_server()) return false;
  if (catalog::open(handlerton, xa::lock_tables) != 0) {
    log::error("cannot open the catalog: " + last_error_message());
    return false;
  }
  if (mysqld_server_started) {
    if (catalog::can_attach_running()) return true;
    log::error(
        "the store holds definitions that this server does not have, or not as they are there: they cannot be brought into a running "
        "server. Start "
        "it with plugin-load-add=ha_smartengine.so");
    return false;
  }
  if (!catalog::disk_is_anothers()) return xa::commit_after_innodb();
  xa::roll_back_others();
  xa::leave_tables_unlocked();
  return true;
}

}  // namespace

int open_engine(::handlerton *handlerton) {
  ffi::set_log_sink(reinterpret_cast<size_t>(&log::smartengine_log_sink));
  ffi::EngineHandle *opened = ffi::engine_open(sysvars::engine_options());
  if (opened == nullptr) {
    log::error("cannot start: " + std::string(ffi::last_error()));
    return 1;
  }
  ffi::engine_observe_waits(*opened, reinterpret_cast<size_t>(&applier_waits::smartengine_wait_observer));
  exchange_engine(opened);
  hton = handlerton;
  fill(handlerton);
  if (!begin(handlerton)) {
    close_engine();
    hton = nullptr;
    return 1;
  }
  refuse_clone();
  if (mysqld_server_started) {
    // Installed into a running server, there is no recovery to wait for, and none that could decide.
    const size_t undecided = ffi::engine_prepared(*opened).size();
    if (undecided != 0) {
      log::warning(std::to_string(undecided) +
                   " transactions wait for the server's decision, with their rows locked: it is made when the server starts with "
                   "--plugin-load-add=ha_smartengine.so");
    } else {
      // One of the undecided could be a CREATE TABLE, whose index has no name before it is committed.
      dictionary::drop_unnamed_indexes();
    }
    catalog::attach_running();
  }
  return 0;
}

int close_engine() {
  catalog::leave();
  ffi::EngineHandle *closing = exchange_engine(nullptr);
  if (closing == nullptr) return 0;
  allow_clone();
  dictionary::forget_all();
  const ffi::Status status = ffi::engine_close(closing);
  if (!ok(status)) log::error("close: " + std::string(ffi::last_error()));
  return ok(status) ? 0 : 1;
}

}  // namespace smartengine
