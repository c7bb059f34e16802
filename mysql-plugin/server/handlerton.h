// The engine's handlerton and the one open engine of this server.

#ifndef SMARTENGINE_HANDLERTON_H
#define SMARTENGINE_HANDLERTON_H

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

/// Opens the store and fills the handlerton; 0 on success.
int open_engine(handlerton *handlerton);
/// Stops every thread of the engine and closes the store; 0 on success.
int close_engine();

/// For what can neither be done nor left undone, since the coordinator has it on record as done: says so and ends the
/// process, as InnoDB does. Recovery then does it, by the coordinator's log.
[[noreturn]] void stop_server(const std::string &what);

/// Drops indexes whose dictionary row is gone, for good. A failure is only logged: the next start finds them unnamed
/// and drops them.
void drop_indexes(const std::vector<uint32_t> &indexes);

}  // namespace smartengine

#endif  // SMARTENGINE_HANDLERTON_H
