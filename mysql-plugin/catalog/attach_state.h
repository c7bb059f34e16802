// How far this server has come with the store's catalog, for those who ask before they define something.

#ifndef SMARTENGINE_CATALOG_ATTACH_STATE_H
#define SMARTENGINE_CATALOG_ATTACH_STATE_H

#include <cstdint>

namespace smartengine::catalog {

enum class AttachState : uint8_t {
  kDetached,   ///< Not begun, or over: the server starts or stops, and has no clients.
  kAttaching,  ///< Under way in a running server: what is defined meanwhile is noted.
  kAttached,
  kRefused,  ///< Failed, as the error log says: what is defined stays on this server's disk.
};

AttachState attach_state();
void set_attach_state(AttachState state);

/// Whether the attach failed: DDL on this engine's tables is refused then.
inline bool is_refused() { return attach_state() == AttachState::kRefused; }

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_ATTACH_STATE_H
