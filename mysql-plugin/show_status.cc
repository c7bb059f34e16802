#include "show_status.h"

#include <string>

#include "handlerton.h"

namespace smartengine {

bool show_status(::handlerton *, THD *thd, stat_print_fn *print, ha_stat_type kind) {
  if (kind != HA_ENGINE_STATUS || !is_open()) return false;
  static constexpr char name[] = "SMARTENGINE";
  const std::string text(ffi::engine_status_text(engine()));
  return print(thd, name, sizeof(name) - 1, "", 0, text.data(), text.size());
}

}  // namespace smartengine
