#include "handler/child_table.h"

#include "base/error_map.h"
#include "foreign/link.h"
#include "handler/ha_smartengine.h"
#include "sql/dd/cache/dictionary_client.h"
#include "sql/dd/types/table.h"
#include "sql/dd_table_share.h"
#include "sql/sql_base.h"

namespace smartengine {

int ChildTable::open(THD *thd, const foreign::TableName &name, std::unique_ptr<ChildTable> *opened) {
  if (const int error = foreign::lock_name(thd, name, MDL_SHARED_WRITE); error != 0) return error;
  std::unique_ptr<ChildTable> child(new ChildTable(name));
  const dd::cache::Dictionary_client::Auto_releaser releaser(thd->dd_client());
  const dd::Table *definition = nullptr;
  if (thd->dd_client()->acquire(name.schema.c_str(), name.table.c_str(), &definition)) return kErrorRaised;
  if (definition == nullptr) return HA_ERR_NO_SUCH_TABLE;
  const foreign::TableName &kept = child->m_name;
  init_tmp_table_share(thd, &child->m_share, kept.schema.c_str(), kept.schema.size() + 1, kept.table.c_str(), "", nullptr);
  if (open_table_def_suppress_invalid_meta_data(thd, &child->m_share, *definition) != 0 ||
      open_table_from_share(thd, &child->m_share, kept.table.c_str(), HA_OPEN_KEYFILE | HA_OPEN_RNDFILE | HA_GET_INDEX, EXTRA_RECORD, 0,
                            &child->m_table, false, definition) != 0) {
    free_table_share(&child->m_share);
    return thd->is_error() ? kErrorRaised : HA_ERR_TABLE_DEF_CHANGED;
  }
  child->m_is_open = true;
  child->m_table.use_all_columns();
  child->m_table.reginfo.lock_type = TL_WRITE;
  const int error = child->file().ha_external_lock(thd, F_WRLCK);
  if (error != 0) return error;
  *opened = std::move(child);
  return 0;
}

ChildTable::~ChildTable() {
  if (!m_is_open) return;
  if (file().get_lock_type() == F_WRLCK) file().ha_external_lock(m_table.in_use, F_UNLCK);
  closefrm(&m_table, false);
  free_table_share(&m_share);
}

ha_smartengine &ChildTable::file() { return *static_cast<ha_smartengine *>(m_table.file); }

}  // namespace smartengine
