#include "base/row_counts.h"

#include <atomic>

namespace smartengine {

namespace {

struct Totals {
  std::atomic<uint64_t> read{0};
  std::atomic<uint64_t> inserted{0};
  std::atomic<uint64_t> updated{0};
  std::atomic<uint64_t> deleted{0};
};

Totals totals;

}  // namespace

void add_to_total(const RowCounts &counts) {
  if (counts.read != 0) totals.read.fetch_add(counts.read, std::memory_order_relaxed);
  if (counts.inserted != 0) totals.inserted.fetch_add(counts.inserted, std::memory_order_relaxed);
  if (counts.updated != 0) totals.updated.fetch_add(counts.updated, std::memory_order_relaxed);
  if (counts.deleted != 0) totals.deleted.fetch_add(counts.deleted, std::memory_order_relaxed);
}

RowCounts total_row_counts() {
  return {totals.read.load(std::memory_order_relaxed), totals.inserted.load(std::memory_order_relaxed),
          totals.updated.load(std::memory_order_relaxed), totals.deleted.load(std::memory_order_relaxed)};
}

}  // namespace smartengine
