#include "base/checksum.h"

#include "smartengine-ffi/src/bridge.rs.h"

namespace smartengine {

uint32_t crc32c(Slice bytes) { return ffi::crc32c({bytes.data, bytes.size}); }

}  // namespace smartengine
