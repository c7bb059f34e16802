// Bytes of the plugin's as the bridge takes them, and the other way round; nothing is copied.

#ifndef SMARTENGINE_BYTES_H
#define SMARTENGINE_BYTES_H

#include <cstdint>

#include "base/byte_buffer.h"
#include "smartengine-ffi/src/bridge.rs.h"

namespace smartengine {

inline rust::Slice<const uint8_t> bytes(Slice slice) { return {slice.data, slice.size}; }
inline Slice slice(const ffi::Bytes &bytes) { return {bytes.data, bytes.size}; }
inline ffi::Bytes borrowed(Slice slice) {
  static const unsigned char nothing = 0;
  return {slice.size == 0 ? &nothing : slice.data, slice.size};
}

}  // namespace smartengine

#endif  // SMARTENGINE_BYTES_H
