// SHOW ENGINE SMARTENGINE STATUS.

#ifndef SMARTENGINE_SHOW_STATUS_H
#define SMARTENGINE_SHOW_STATUS_H

#include "compat.h"

namespace smartengine {

bool show_status(handlerton *handlerton, THD *thd, stat_print_fn *print, ha_stat_type kind);

}  // namespace smartengine

#endif  // SMARTENGINE_SHOW_STATUS_H
