#include "session/group_sync.h"

#include <atomic>

namespace smartengine::group_sync {

namespace {

/// Prepares that had to wait, and how many of them a sync has passed.
std::atomic<uint64_t> unsynced{0};
std::atomic<uint64_t> synced{0};

}  // namespace

void note_unsynced() { unsynced.fetch_add(1, std::memory_order_acq_rel); }

uint64_t noted() { return unsynced.load(std::memory_order_acquire); }

void note_synced(uint64_t noted) {
  uint64_t seen = synced.load(std::memory_order_relaxed);
  while (seen < noted && !synced.compare_exchange_weak(seen, noted, std::memory_order_acq_rel)) {
  }
}

bool is_awaited(uint64_t noted) { return synced.load(std::memory_order_acquire) < noted; }

}  // namespace smartengine::group_sync
