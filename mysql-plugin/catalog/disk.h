// What this server's disk says about the catalog it was last in step with: the file `smartengine.attached` in the server's
// data directory, beside the dictionary whose age it tells.
//
//   u32 magic "SEAT" | u16 version | u8 clean | u8 0 | store id (16) | attach token (16) | u64 generation | u32 CRC-32C of all before
//
// 52 bytes, big endian, written at once. The token is new at every attach and also in the catalog. So:
//
//   same token, generation at least the catalog's   this disk is where the catalog was written from: the server's dictionary is right
//   anything else                                   another server has written since, or the disk is an older copy: the catalog is right
//   same store, but not so                          the disk was in step once: what it has and the catalog does not was dropped since
//   another store or no file                        the disk never was: what the catalog does not know is this server's own, and stays
//
// A generation is written and synced here before the transaction that brings it to the catalog commits. A crash between the
// two leaves a higher one here, which is as good. `clean` is set when the server shuts down in good order, with everything captured.

#ifndef SMARTENGINE_CATALOG_DISK_H
#define SMARTENGINE_CATALOG_DISK_H

#include <cstdint>
#include <optional>
#include <string>

namespace smartengine::catalog::disk {

constexpr size_t kIdSize = 16;

struct State {
  bool clean = false;
  std::string store_id;  ///< kIdSize bytes.
  std::string token;     ///< kIdSize bytes.
  uint64_t generation = 0;
};

/// What the file says; nothing if there is none or it is damaged.
std::optional<State> read();
/// Replaces the file, durably. 0 or an error number.
int write(const State &state);
/// Makes the generation at least `generation`, durably, where an attach has begun; `result` is what it is then.
int advance(uint64_t generation, uint64_t *result);
/// Says that everything is captured, or that it may not be.
int set_clean(bool clean);

}  // namespace smartengine::catalog::disk

#endif  // SMARTENGINE_CATALOG_DISK_H
