// Under the binary log prepares are not synced one by one: the coordinator has the log synced once for a group of them. This counts those that wait for
// that, so that a sync that fails is known to have been awaited or not.

#ifndef SMARTENGINE_GROUP_SYNC_H
#define SMARTENGINE_GROUP_SYNC_H

#include <cstdint>

namespace smartengine::group_sync {

/// A transaction was prepared, and waits.
void note_unsynced();
/// How many did so far; to be asked before a sync.
uint64_t noted();
/// The sync that came after `noted` returned this has succeeded.
void note_synced(uint64_t noted);
/// Whether some of the first `noted` wait still.
bool is_awaited(uint64_t noted);

}  // namespace smartengine::group_sync

#endif  // SMARTENGINE_GROUP_SYNC_H
