#include "server/show_status.h"

#include <string>

#include "base/engine.h"
#include "compat.h"
#include "table/dictionary.h"

namespace smartengine {

bool show_status(::handlerton *, THD *thd, stat_print_fn *print, ha_stat_type kind) {
  if (kind != HA_ENGINE_STATUS || !is_open()) return false;
  static constexpr char name[] = "SMARTENGINE";
  std::string text(ffi::engine_status_text(engine()));
  uint32_t unnamed = 0;
  if (dictionary::count_unnamed_indexes(&unnamed)) text += "indexes without a table: " + std::to_string(unnamed) + "\n";
  return print(thd, name, sizeof(name) - 1, "", 0, text.data(), text.size());
}

}  // namespace smartengine
