#include "session/locks_released.h"

#include <string>
#include <string_view>

#include "compat.h"
#include "sql/mdl.h"

namespace smartengine::locks_released {

const char *const kCommitted = "#smartengine committed";
const char *const kCaptured = "#smartengine captured";
const char *const kGtidsReset = "#smartengine gtids reset";

bool tell(THD *thd, const char *what) {
  MDL_request request;
  const std::string session = std::to_string(thd->thread_id());
  MDL_REQUEST_INIT(&request, MDL_key::TRIGGER, what, session.c_str(), MDL_EXCLUSIVE, MDL_TRANSACTION);
  return !thd->mdl_context.acquire_lock(&request, 0);
}

const char *told(const MDL_key &key) {
  if (key.mdl_namespace() != MDL_key::TRIGGER) return nullptr;
  const std::string_view schema(key.db_name(), key.db_name_length());
  for (const char *const what : {kCommitted, kCaptured, kGtidsReset}) {
    if (schema == what) return what;
  }
  return nullptr;
}

}  // namespace smartengine::locks_released
