// Engine failures as the server's error numbers.

#ifndef SMARTENGINE_ERROR_MAP_H
#define SMARTENGINE_ERROR_MAP_H

#include <exception>
#include <new>
#include <string>

#include "base/error_numbers.h"
#include "compat.h"
#include "smartengine-ffi/src/bridge.rs.h"

namespace smartengine {

inline bool ok(const ffi::Status &status) { return status.code == ffi::Code::Ok; }

/// The HA_ERR number for a failed call, or 0. Keeps the engine's message for `last_error_message`, and tells the server
/// where the whole transaction is lost (`thd` may be null where there is no session).
int ha_error(const ffi::Status &status, THD *thd);

/// The text of the last failure that `ha_error` mapped on this thread.
const std::string &last_error_message();

/// Records a text of the plugin's own for `error`, which is returned.
int own_error(OwnError error, std::string message);

/// For `handler::get_error_message`; true where trying again may help.
bool error_text(int error, String *text);

/// Raises the error in the session at once, for hooks whose callers would print a bare number.
void raise(int error);

/// Runs a method's body; whatever it throws, lack of memory above all, becomes an error number.
template <typename Body>
int guarded(Body &&body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return HA_ERR_OUT_OF_MEM;
  } catch (const std::exception &exception) {
    return own_error(kErrorInternal, exception.what());
  }
}

}  // namespace smartengine

#endif  // SMARTENGINE_ERROR_MAP_H
