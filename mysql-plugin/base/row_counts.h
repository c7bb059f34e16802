// How many rows handlers have touched, for Smartengine_rows_….

#ifndef SMARTENGINE_ROW_COUNTS_H
#define SMARTENGINE_ROW_COUNTS_H

#include <cstdint>

namespace smartengine {

/// A handler counts for itself and adds to the total at the end of its statement.
struct RowCounts {
  uint64_t read = 0;
  uint64_t inserted = 0;
  uint64_t updated = 0;
  uint64_t deleted = 0;
};

void add_to_total(const RowCounts &counts);
/// Since the server's start.
RowCounts total_row_counts();

}  // namespace smartengine

#endif  // SMARTENGINE_ROW_COUNTS_H
