// The codecs' checksum where there is no bridge to take it from: the server's own, of InnoDB's pages. The golden bytes show that the two agree.

#include "base/checksum.h"

extern uint32_t (*ut_crc32)(const unsigned char *bytes, size_t size);
void ut_crc32_init();

namespace smartengine {

uint32_t crc32c(Slice bytes) {
  // In a server that has not started nobody has chosen yet how it is computed.
  if (ut_crc32 == nullptr) ut_crc32_init();
  return ut_crc32(bytes.data, bytes.size);
}

}  // namespace smartengine
