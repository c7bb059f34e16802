// What is set, for those who act by it. The variables themselves are in server/sysvars.cc, and so are these functions.

#ifndef SMARTENGINE_SETTINGS_H
#define SMARTENGINE_SETTINGS_H

#include <cstdint>

class THD;

namespace smartengine::settings {

/// The session's smartengine_lock_wait_timeout, in milliseconds.
uint64_t lock_wait_timeout_ms(THD *thd);
/// The session's smartengine_commit_durability.
bool commit_durability_is_object(THD *thd);
/// The global smartengine_replace_kept_tables.
bool may_replace_kept_tables();
/// Bytes.
uint64_t block_size();
uint64_t block_cache_size();

}  // namespace smartengine::settings

#endif  // SMARTENGINE_SETTINGS_H
