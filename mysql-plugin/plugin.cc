/* SPDX-License-Identifier: GPL-2.0-only */
/* The plugin's declaration: what the server reads when it loads ha_smartengine.so. */

#include <mysql/plugin.h>

#include "sql/handler.h"

namespace {

int initialize(void *registration) {
  auto *hton = static_cast<handlerton *>(registration);
  hton->state = SHOW_OPTION_YES;
  hton->db_type = DB_TYPE_UNKNOWN;
  return 0;
}

st_mysql_storage_engine storage_engine = {
    MYSQL_HANDLERTON_INTERFACE_VERSION};

}  // namespace

mysql_declare_plugin(smartengine){
    MYSQL_STORAGE_ENGINE_PLUGIN,
    &storage_engine,
    "SMARTENGINE",
    "SmartEngine for MySQL",
    "Log-structured storage in an object store",
    PLUGIN_LICENSE_GPL,
    initialize,
    nullptr,
    nullptr,
    0x0001,
    nullptr,
    nullptr,
    nullptr,
    0,
} mysql_declare_plugin_end;
