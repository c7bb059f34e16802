#include "server/clone.h"

#include "compat.h"
#include "my_sys.h"
#include "mysqld_error.h"
#include "sql/handler.h"

namespace smartengine {

namespace {

/// InnoDB's hooks; null while CLONE is allowed.
Clone_begin_t innodb_begin = nullptr;
Clone_apply_begin_t innodb_apply_begin = nullptr;

int refuse(const char *why) {
  my_error(ER_FEATURE_UNSUPPORTED, MYF(0), "CLONE", why);
  return ER_FEATURE_UNSUPPORTED;
}

/// This server is to be copied.
int begin(handlerton *, THD *, const uchar *&, uint &, uint &, Ha_clone_type, Ha_clone_mode) {
  return refuse("it would copy InnoDB's tables alone, and the plugin SMARTENGINE is loaded here; use mysqldump --single-transaction");
}

/// This server is to receive a copy: into a folder, which does no harm here, or in place of its data.
int apply_begin(handlerton *innodb, THD *thd, const uchar *&location, uint &length, uint &task, Ha_clone_mode mode, const char *folder) {
  if (folder == nullptr)
    return refuse("it would replace InnoDB's tables alone, and the plugin SMARTENGINE is loaded here; start this server without it");
  return innodb_apply_begin(innodb, thd, location, length, task, mode, folder);
}

}  // namespace

void refuse_clone() {
  handlerton *innodb = ha_resolve_by_legacy_type(nullptr, DB_TYPE_INNODB);
  if (innodb == nullptr || innodb->clone_interface.clone_begin == nullptr) return;
  innodb_begin = innodb->clone_interface.clone_begin;
  innodb_apply_begin = innodb->clone_interface.clone_apply_begin;
  innodb->clone_interface.clone_begin = begin;
  innodb->clone_interface.clone_apply_begin = apply_begin;
}

void allow_clone() {
  handlerton *innodb = ha_resolve_by_legacy_type(nullptr, DB_TYPE_INNODB);
  if (innodb == nullptr || innodb_begin == nullptr) return;
  innodb->clone_interface.clone_begin = innodb_begin;
  innodb->clone_interface.clone_apply_begin = innodb_apply_begin;
  innodb_begin = nullptr;
}

}  // namespace smartengine
