// What the engine's dictionary holds about a table, and the dictionary's keys.
//
// The dictionary is rows of the reserved index kDictionaryIndex; a table's entry is written in the DDL's own
// transaction, so it and the server's data dictionary commit or roll back together.
//
//   key of a table    u32 0 | 'T' | u64 table id
//   key of a counter  u32 0 | 'C' | u64 table id   (AUTO_INCREMENT; the value is the engine's counter)
//
// A table's value, integers big endian, strings as u16 length + bytes:
//
//   u32 magic "SETD" | u16 format version | u64 table id | u16 schema version | u16 flags
//   u16 columns, each: name | u8 real type | u8 flags | u16 charset id | u32 length | u8 decimals
//   u16 indexes, each: name | u32 index id | u8 kind | u8 flags | u16 parts, each: u16 column | u16 length | u8 flags
//   string comment | u32 CRC-32C of all before
//
// A decoder of version n reads versions 1..n; unknown versions are refused with their number.

#ifndef SMARTENGINE_TABLE_DEF_H
#define SMARTENGINE_TABLE_DEF_H

#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_buffer.h"

struct TABLE;
struct TABLE_SHARE;

namespace smartengine {

/// The index id that the engine's own dictionary lives in.
constexpr uint32_t kDictionaryIndex = 0;

enum class IndexKind : uint8_t {
  kPrimary = 1,        ///< PRIMARY KEY: the entry's value is the row.
  kUnique = 2,         ///< UNIQUE secondary index.
  kSecondary = 3,      ///< Secondary index that allows duplicates.
  kHiddenPrimary = 4,  ///< The row index of a table without PRIMARY KEY; its key is a u64 that the engine gives out.
};

struct ColumnDef {
  enum Flag : uint8_t { kNullable = 1, kUnsigned = 2, kStoredGenerated = 4, kVirtualGenerated = 8 };
  std::string name;
  uint8_t real_type = 0;  ///< Field::real_type().
  uint8_t flags = 0;
  uint16_t charset_id = 0;  ///< CHARSET_INFO::number; 63 where there is none.
  uint32_t length = 0;      ///< Field::field_length.
  uint8_t decimals = 0;
};

struct KeyPartDef {
  enum Flag : uint8_t { kDescending = 1, kPrefix = 2 };
  uint16_t column = 0;  ///< Place in TableDef::columns.
  uint16_t length = 0;  ///< KEY_PART_INFO::length: bytes, of a prefix too.
  uint8_t flags = 0;
};

struct IndexDef {
  enum Flag : uint8_t { kVisible = 1 };
  std::string name;  ///< Empty for kHiddenPrimary.
  uint32_t index_id = 0;
  IndexKind kind = IndexKind::kSecondary;
  uint8_t flags = 0;
  std::vector<KeyPartDef> parts;
};

/// A table as the dictionary knows it. A value: copied, changed and written back by DDL.
struct TableDef {
  uint64_t table_id = 0;
  uint16_t schema_version = 1;  ///< Grows with each instant change of columns; every row names the one it was written in.
  uint16_t flags = 0;
  std::vector<ColumnDef> columns;
  std::vector<IndexDef> indexes;  ///< In the order of TABLE_SHARE::key_info; kHiddenPrimary, if any, last.
  std::string comment;            ///< The table's path, schema/table as in file names.

  /// How many index ids a table needs: its keys, and one more if it has no primary key.
  static uint32_t count_indexes(const TABLE_SHARE &share);

  /// Describes a table to be created; its indexes take the ids from `first_index_id` on. `share` is `TABLE::s` of the
  /// `form` that handler::create is given, or of `altered_table`.
  static TableDef describe(const TABLE_SHARE &share, uint64_t table_id, uint32_t first_index_id);

  /// Appends the encoded value; false if memory is short or a name or count does not fit the format.
  [[nodiscard]] bool encode(ByteBuffer *out) const;

  /// Reads an encoded value of any length and content; false with the cause in `why`.
  [[nodiscard]] static bool decode(Slice value, TableDef *def, std::string *why);

  /// Whether rows and indexes that were written by this definition are what `share` asks for; false with the difference
  /// in `why`. Names of columns and visibility of indexes may differ; types, charsets, nullability and key parts may
  /// not.
  [[nodiscard]] bool matches(const TABLE_SHARE &share, std::string *why) const;

  /// The index of this name (compared as the server compares key names), or null. The hidden one has no name.
  const IndexDef *find_index(const char *name) const;
  IndexDef *find_index(const char *name);

  /// The index whose values are the rows.
  const IndexDef &row_index() const;
};

/// "db/table" of a path as handler::create, open, rename_table and delete_table are given it ("./db/table").
Slice table_name_of_path(const char *path);

/// Appends [lower, upper) of all tables' dictionary keys; both buffers are cleared first.
[[nodiscard]] bool all_tables_range(ByteBuffer *lower, ByteBuffer *upper);

/// Appends the key of a table's AUTO_INCREMENT counter.
[[nodiscard]] bool append_counter_key(uint64_t table_id, ByteBuffer *out);

}  // namespace smartengine

#endif  // SMARTENGINE_TABLE_DEF_H
