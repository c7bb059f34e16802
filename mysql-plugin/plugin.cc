// The plugin's declaration: what the server finds in ha_smartengine.so, or in itself if the engine is built in.

#include "mysql/plugin.h"

#include <exception>
#include <new>
#include <string>

#include "base/log.h"
#include "compat.h"
#include "server/data_locks.h"
#include "server/handlerton.h"
#include "server/lock_tables.h"
#include "server/object_store_table.h"
#include "server/schema_table.h"
#include "server/status_vars.h"
#include "server/sysvars.h"
#include "server/version.h"
#include "session/trx.h"
#include "sql/current_thd.h"
#include "sql/mysqld.h"

namespace {

int init(void *plugin) {
  if (opt_initialize) {
    // A server that makes its data directory loads no plugins, but has those that are built in. The store is for the one that comes after it.
    static_cast<handlerton *>(plugin)->state = SHOW_OPTION_DISABLED;
    return 0;
  }
  if (smartengine::log::init()) return 1;
  try {
    smartengine::log::system(std::string("version ") + smartengine::version::text());
    // Before anything of the server's is touched.
    if (const std::string refusal = smartengine::version::refusal(); !refusal.empty()) {
      smartengine::log::error("cannot start: " + refusal);
    } else if (smartengine::open_engine(static_cast<handlerton *>(plugin)) == 0) {
      smartengine::data_locks::init();
      return 0;
    }
  } catch (const std::exception &exception) {
    smartengine::log::error(exception.what());
  }
  smartengine::log::deinit();
  return 1;
}

/// A session lets go of the engine when it ends, and the server never tells it to once UNINSTALL PLUGIN has begun.
int refuse_uninstall(void *) { return smartengine::Trx::count_others(current_thd) != 0; }

int deinit(void *) {
  if (opt_initialize) return 0;
  smartengine::data_locks::deinit();
  const int error = smartengine::close_engine();
  smartengine::log::deinit();
  return error;
}

st_mysql_storage_engine engine_info = {MYSQL_HANDLERTON_INTERFACE_VERSION};

}  // namespace

#define INFORMATION_SCHEMA_TABLE(name, description, init)                                                                                \
  {                                                                                                                                      \
    MYSQL_INFORMATION_SCHEMA_PLUGIN, &smartengine::schema_table::descriptor, name, "SmartEngine", description, PLUGIN_LICENSE_GPL, init, \
        nullptr, nullptr, smartengine::version::number(), nullptr, nullptr, nullptr, 0                                                   \
  }

mysql_declare_plugin(smartengine){
    MYSQL_STORAGE_ENGINE_PLUGIN,
    &engine_info,
    "SMARTENGINE",
    "SmartEngine",
    smartengine::version::description(),
    PLUGIN_LICENSE_GPL,
    init,
    refuse_uninstall,
    deinit,
    smartengine::version::number(),
    smartengine::status_vars::all,
    smartengine::sysvars::all,
    nullptr,
    0,
},
    INFORMATION_SCHEMA_TABLE("SMARTENGINE_TRX", "Running transactions of SMARTENGINE", smartengine::lock_tables::init_trx),
    INFORMATION_SCHEMA_TABLE("SMARTENGINE_LOCKS", "Locks of SMARTENGINE that are held or waited for", smartengine::lock_tables::init_locks),
    INFORMATION_SCHEMA_TABLE("SMARTENGINE_OBJECT_STORE", "Requests of SMARTENGINE to its object store",
                             smartengine::object_store_table::init) mysql_declare_plugin_end;
