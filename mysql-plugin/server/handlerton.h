// The engine's handlerton: what the server calls that is about no table, and the engine's open and close.

#ifndef SMARTENGINE_HANDLERTON_H
#define SMARTENGINE_HANDLERTON_H

struct handlerton;

namespace smartengine {

/// Opens the store and fills the handlerton; 0 on success.
int open_engine(handlerton *handlerton);
/// Stops every thread of the engine and closes the store; 0 on success.
int close_engine();

}  // namespace smartengine

#endif  // SMARTENGINE_HANDLERTON_H
