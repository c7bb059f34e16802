// The one open engine of this server. The plugin's init opens it (server/handlerton.h); everything else finds it here.

#ifndef SMARTENGINE_ENGINE_H
#define SMARTENGINE_ENGINE_H

#include <cstdint>
#include <string>
#include <vector>

#include "smartengine-ffi/src/bridge.rs.h"

struct handlerton;

namespace smartengine {

/// Set by the plugin's init, for as long as the plugin is loaded.
extern handlerton *hton;

bool is_open();
/// Only while `is_open`.
ffi::EngineHandle &engine();
/// Makes `next` the open engine, or none if it is null; returns the one before.
ffi::EngineHandle *exchange_engine(ffi::EngineHandle *next);

/// For what can neither be done nor left undone, since the coordinator has written down that it is: says so and ends the
/// process, as InnoDB does. Recovery does it, by the coordinator's log.
[[noreturn]] void stop_server(const std::string &what);

/// Drops indexes whose dictionary row is gone, for good. A failure is only logged: the next start finds them unnamed
/// and drops them.
void drop_indexes(const std::vector<uint32_t> &indexes);

}  // namespace smartengine

#endif  // SMARTENGINE_ENGINE_H
