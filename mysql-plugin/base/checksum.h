// The checksum of what the plugin itself keeps: definitions, the catalog's entries, and the file `smartengine.attached`.

#ifndef SMARTENGINE_CHECKSUM_H
#define SMARTENGINE_CHECKSUM_H

#include "base/byte_buffer.h"

namespace smartengine {

/// CRC-32C (Castagnoli) of `bytes`. The engine's files have CRC-32; these formats began with the other one, and stores are full of it.
uint32_t crc32c(Slice bytes);

}  // namespace smartengine

#endif  // SMARTENGINE_CHECKSUM_H
