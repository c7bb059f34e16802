// The system variables, `smartengine_…`.

#ifndef SMARTENGINE_SYSVARS_H
#define SMARTENGINE_SYSVARS_H

#include <cstdint>

#include "smartengine-ffi/src/bridge.rs.h"

class THD;
struct SYS_VAR;

namespace smartengine::sysvars {

/// The array for the plugin's declaration.
extern SYS_VAR *all[];

uint64_t lock_wait_timeout_ms(THD *thd);
uint64_t block_size();
uint64_t block_cache_size();

/// The options to open the engine with; paths that were left empty are under the server's data directory.
ffi::EngineOptions engine_options();
ffi::DynamicOptions dynamic_options();

/// The session's smartengine_commit_durability.
bool commit_durability_is_object(THD *thd);
/// The global smartengine_replace_kept_tables.
bool may_replace_kept_tables();

}  // namespace smartengine::sysvars

#endif  // SMARTENGINE_SYSVARS_H
