// The system variables, `smartengine_…`.

#ifndef SMARTENGINE_SYSVARS_H
#define SMARTENGINE_SYSVARS_H

#include "smartengine-ffi/src/bridge.rs.h"

struct SYS_VAR;

namespace smartengine::sysvars {

/// The array for the plugin's declaration.
extern SYS_VAR *all[];

/// The options to open the engine with; paths that were left empty are under the server's data directory.
ffi::EngineOptions engine_options();
ffi::DynamicOptions dynamic_options();

}  // namespace smartengine::sysvars

#endif  // SMARTENGINE_SYSVARS_H
