// The status variables, `Smartengine_…`.

#ifndef SMARTENGINE_STATUS_VARS_H
#define SMARTENGINE_STATUS_VARS_H

#include <cstdint>

struct SHOW_VAR;

namespace smartengine::status_vars {

/// The array for the plugin's declaration.
extern SHOW_VAR all[];

/// Rows that handlers touched; a handler counts for itself and adds here at the end of its statement.
struct RowCounts {
  uint64_t read = 0;
  uint64_t inserted = 0;
  uint64_t updated = 0;
  uint64_t deleted = 0;
};

void add(const RowCounts &counts);

}  // namespace smartengine::status_vars

#endif  // SMARTENGINE_STATUS_VARS_H
