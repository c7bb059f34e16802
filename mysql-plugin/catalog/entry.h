// What the catalog holds, and its bytes: definitions of the server's objects as SQL text, in the engine's dictionary.
//
//   key      u32 0 | 'K' | u8 kind | schema | 00 | name      (no name has a NUL; accounts: host for schema, user for name)
//   value    u32 magic "SECE" | u16 format version | u8 kind | u8 flags | u32 server version that wrote it | u64 table id
//            u16 fields, each: u32 size | bytes
//            u32 CRC-32C of all before
//
// Integers are big endian. `table id` is the engine's id of a table, 0 for every other kind. A decoder of version n reads
// versions 1..n; unknown versions and kinds are refused with their number. The fields of each kind:
//
//   meta        [store id, attach token, lower_case_table_names]
//   schema      [SHOW CREATE DATABASE]
//   table       [what follows the name in SHOW CREATE TABLE, without AUTO_INCREMENT=n]
//   view        [SHOW CREATE VIEW, character_set_client, collation_connection]
//   routines    [SHOW CREATE …, sql_mode, character_set_client, collation_connection, collation of the schema]
//   trigger     [SHOW CREATE TRIGGER, sql_mode, character_set_client, collation_connection, collation of the schema, table, place]
//   event       [SHOW CREATE EVENT, sql_mode, character_set_client, collation_connection, collation of the schema, time zone]
//   library     [SHOW CREATE LIBRARY, sql_mode]
//   account     [CREATE USER without DEFAULT ROLE, what DEFAULT ROLE said, n, n statements for what neither can say, GRANT …]
//
// The server version is that of the server that wrote the entry. Which servers may use the store is not told by it but by the store's manifest
// (store.h), since the newest entry may have been dropped.
//
// Text is in the character set of the field character_set_client where there is one, else utf8mb4. Of routines, triggers and events that holds
// for the parameters and the body alone: see text.h.

#ifndef SMARTENGINE_CATALOG_ENTRY_H
#define SMARTENGINE_CATALOG_ENTRY_H

#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_buffer.h"

namespace smartengine::catalog {

/// In the order in which they are replayed.
enum class Kind : uint8_t {
  kMeta = 1,
  kSchema = 2,
  kTable = 3,
  kLibrary = 4,
  kFunction = 5,
  kProcedure = 6,
  kView = 7,
  kTrigger = 8,
  kEvent = 9,
  kAccount = 10,
};

/// Its name for people.
const char *kind_name(Kind kind);

/// An object's name. Of an account, `schema` is the host and `name` the user; of a schema, `name` is empty.
struct Name {
  Kind kind = Kind::kMeta;
  std::string schema;
  std::string name;
};

bool operator<(const Name &a, const Name &b);
bool operator==(const Name &a, const Name &b);

/// The name as a message shows it: "view s.v".
std::string describe(const Name &name);

struct Entry {
  enum Flag : uint8_t {
    kNotReplayed = 1,  ///< The last replay could not make it: that it is not in the server's dictionary says nothing.
  };
  Name name;
  uint8_t flags = 0;
  uint32_t server_version = 0;
  uint64_t table_id = 0;
  std::vector<std::string> fields;

  /// The field, or nothing if there are fewer.
  const std::string &field(size_t place) const;
};

/// Whether both describe the same object in the same way; who wrote them and when does not count.
bool same_definition(const Entry &a, const Entry &b);

/// Appends the key; false if memory is short or a name has a NUL.
[[nodiscard]] bool append_key(const Name &name, ByteBuffer *out);
/// Replaces both by the range of all names of a kind, in one schema if that is not empty.
[[nodiscard]] bool kind_range(Kind kind, const std::string &schema, ByteBuffer *lower, ByteBuffer *upper);
/// The key of the counter that grows with every change of the catalog.
[[nodiscard]] bool append_generation_key(ByteBuffer *out);

/// Appends the value; false if memory is short or a part does not fit the format.
[[nodiscard]] bool encode(const Entry &entry, ByteBuffer *out);
/// Reads a key and a value of any length and content; false with the cause in `why`.
[[nodiscard]] bool decode(Slice key, Slice value, Entry *entry, std::string *why);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_ENTRY_H
