// Index entries: how column values become keys whose byte order is the server's order, and how they come back for
// covering reads.
//
// Key = u32 index id | key parts | for most secondary indexes, the row key's parts. Each part is self-delimiting, so a
// prefix of the parts is a byte prefix of the key, and no value of a part is a prefix of another value of it.
//
//   nullable column   00 for NULL, else 01 and the value
//   descending part   all its bytes inverted, the NULL byte too
//   integers, YEAR, ENUM, SET    big endian, the sign bit inverted where signed
//   FLOAT, DOUBLE     IEEE bits, big endian; all inverted if negative, else the sign bit; -0 is 0
//   DATE              the server's 3 bytes, big endian
//   DECIMAL, TIME, DATETIME, TIMESTAMP, BIT, BINARY(n)    the server's own packed bytes, which order as they are
//   strings           see collation.h: bytes or weights, with an end that cannot be confused with content
//   hidden row id     u64
//
// Which key and value an index has:
//
//   primary, hidden   key = parts             value = row (row_codec.h)
//   secondary         key = parts | row key   value = 1 | u16 offset of the row key in the key | restore data
//   unique            the same if a column is NULL in the row; otherwise
//                     key = parts             value = 2 | u16 length | row key | restore data
//
// "Row key" is the primary key's parts without index id, or the hidden u64. Restore data holds, for each part of the
// index and then each part of the row key whose value is not NULL, what its encoding lost; nothing for most types:
//
//   FLOAT, DOUBLE                       1 byte: 1 if the value was -0
//   VARCHAR, PAD SPACE binary collation varint: trailing spaces
//   other lossy CHAR and VARCHAR        varint length | bytes (CHAR without trailing spaces)
//   a prefix of a column, a blob        nothing: never read from the index

#ifndef SMARTENGINE_KEY_CODEC_H
#define SMARTENGINE_KEY_CODEC_H

#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_buffer.h"
#include "codec/collation.h"
#include "codec/table_def.h"
#include "compat.h"

class Field;
class KEY;
class KEY_PART_INFO;

namespace smartengine {

/// Longest encoded key, with its index id, that the engine takes.
constexpr size_t kMaxKeySize = 16 * 1024;
/// Bytes of an index id before every key.
constexpr size_t kIndexIdSize = 4;
/// Bytes of a hidden row id in a key.
constexpr size_t kHiddenRowIdSize = 8;

/// One column of an index: where its value is in a record and in a key tuple of the server, and how it is encoded.
class KeyPartCodec {
 public:
  /// False with the cause in `why` if the column's type cannot be in a key.
  [[nodiscard]] bool init(const TABLE_SHARE &share, const KEY_PART_INFO &part, std::string *why);

  /// Appends the value of a record. False if memory is short.
  [[nodiscard]] bool encode_record(const uchar *record, ByteBuffer *out) const;
  /// Appends the value of a key tuple, which starts at `image` (with its NULL byte if nullable).
  [[nodiscard]] bool encode_image(const uchar *image, ByteBuffer *out) const;
  /// Appends the restore data of a record's value.
  [[nodiscard]] bool encode_restore(const uchar *record, ByteBuffer *out) const;

  /// Takes one value off `key`, and what it lost off `restore` if that is given, and stores it into the record. A null
  /// `record` passes over it; a value that cannot be made whole is passed over too. False if the bytes are not what
  /// encode_record can have written.
  [[nodiscard]] bool decode(ByteReader *key, ByteReader *restore, uchar *record) const;

  /// The order of two values of key tuples, as in the index; neither is NULL.
  int compare_images(const uchar *a, const uchar *b) const;

  bool is_null(const uchar *record) const { return m_null_mask != 0 && (record[m_null_offset] & m_null_mask) != 0; }
  bool is_nullable() const { return m_null_mask != 0; }
  /// Bytes of the part in a key tuple.
  uint image_size() const { return m_image_size; }
  uint field_index() const { return m_field_index; }
  /// Whether an index entry holds the column's whole value.
  bool covers_column() const { return m_covers; }
  /// Whether an entry has restore data for values of this part.
  bool has_restore() const { return m_restore != Restore::kNone; }

 private:
  /// How a value lies in a record, and so how it is encoded.
  enum class Kind : uint8_t {
    kUnsigned,  ///< Little endian.
    kSigned,    ///< Little endian, two's complement.
    kFloat,
    kDouble,
    kRaw,      ///< Orders byte by byte.
    kChar,     ///< Padded with spaces.
    kVarchar,  ///< Length, then bytes.
    kBlob,     ///< Length, then a pointer.
  };
  enum class Restore : uint8_t { kNone, kZeroSign, kPadCount, kBytes };

  [[nodiscard]] bool init_kind(const Field &field, const KEY_PART_INFO &part, std::string *why);
  void init_string(const Field &field, const KEY_PART_INFO &part);
  Slice value_in_record(const uchar *record) const;
  Slice value_in_image(const uchar *image) const;
  Slice clip(Slice value) const;
  bool encode_value(Slice value, bool null, ByteBuffer *out) const;
  bool encode_content(Slice value, ByteBuffer *out) const;
  void encode_fixed(const uchar *value, uchar *to) const;
  bool decode_fixed(ByteReader *key, ByteReader *restore, uchar *record) const;
  bool decode_string(ByteReader *key, ByteReader *restore, uchar *record) const;
  bool decode_reversible(ByteReader *key, ByteReader *restore, uchar *record) const;
  void store_size(size_t size, uchar *record) const;
  bool is_string() const { return m_kind >= Kind::kChar; }

  Kind m_kind = Kind::kRaw;
  Restore m_restore = Restore::kNone;
  bool m_covers = true;
  uchar m_mask = 0;            ///< What each byte is XORed with: FF if descending.
  uint8_t m_length_bytes = 0;  ///< Of a VARCHAR or blob in the record.
  uchar m_null_mask = 0;       ///< 0: not nullable.
  uint m_null_offset = 0;
  uint m_offset = 0;       ///< Of the value in the record.
  uint m_size = 0;         ///< Bytes of the value; of a string: at most.
  uint m_column_size = 0;  ///< Bytes of the whole CHAR column; the most a VARCHAR holds.
  uint m_image_size = 0;
  uint m_field_index = 0;
  uint m_max_chars = 0;  ///< Characters that a multi-byte prefix part has at most; 0: only bytes count.
  const CHARSET_INFO *m_charset = nullptr;
  CollationCodec m_collation;
};

/// One index of a table. Immutable once built, used by all handlers of the table at once.
class IndexCodec {
 public:
  uint32_t index_id() const { return m_index_id; }
  IndexKind kind() const { return m_kind; }
  bool is_row_index() const { return m_kind == IndexKind::kPrimary || m_kind == IndexKind::kHiddenPrimary; }
  const std::vector<KeyPartCodec> &parts() const { return m_parts; }
  /// Whether an entry of a secondary index gives a query all that it wants of these columns, given that the server calls
  /// the index covering. It does so too where a query looks at no more of a column than a prefix part has, which an
  /// entry does not give back. Columns that are in neither key are those that a virtual column of the index is made of.
  bool covers(const MY_BITMAP &columns) const;

  /// The range that holds the whole index, [lower, upper); both buffers are replaced.
  int range(ByteBuffer *lower, ByteBuffer *upper) const;

  /// Row indexes. Replaces `key` by the key of a record's row. `hidden_row_id` counts in tables without primary key
  /// alone. 0, HA_ERR_OUT_OF_MEM or HA_ERR_TOO_BIG_ROW (the key is over kMaxKeySize).
  int encode_row_key(const uchar *record, uint64_t hidden_row_id, ByteBuffer *key) const;

  /// Secondary indexes. Replaces `key` and `value` by the entry of a record. `row_key` is the row's key without index
  /// id. `unique`: the entry must not exist yet for another row (the index is UNIQUE and no column of it is NULL), so
  /// it is to be written as OpKind::Insert; otherwise OpKind::Put. Errors as encode_row_key.
  int encode_entry(const uchar *record, Slice row_key, ByteBuffer *key, ByteBuffer *value, bool *unique) const;

  /// Replaces `key` by the search prefix of a key tuple as handler::index_read_map is given it: all entries whose first
  /// parts equal the tuple's start with exactly these bytes. Parts past the index's own are the primary key's, as the
  /// server appends them (extended keys). 0, HA_ERR_OUT_OF_MEM or HA_ERR_TOO_BIG_ROW.
  int encode_search(const uchar *image, key_part_map parts, ByteBuffer *key) const;

  /// Whether `parts` names every column of the index, so that a UNIQUE or primary one holds at most one entry (unless a
  /// NULL is in it).
  bool is_full_key(key_part_map parts) const;
  /// Whether one of the index's own parts is NULL in the tuple.
  bool image_has_null(const uchar *image, key_part_map parts) const;
  bool has_null(const uchar *record) const;

  /// Covering read: stores the index's columns and the primary key's into the record, as far as `read_set` (null: all)
  /// wants them and the entry holds them whole. 0 or HA_ERR_CRASHED.
  int decode_entry(Slice key, Slice value, const MY_BITMAP *read_set, uchar *record) const;

  /// The row key in a secondary entry; false if the value is damaged.
  [[nodiscard]] static bool row_key_of_entry(Slice key, Slice value, Slice *row_key);

 private:
  friend class TableCodec;

  [[nodiscard]] bool init(const TABLE_SHARE &share, uint key_number, const IndexDef &def, std::string *why);
  void extend(const TABLE_SHARE &share, uint key_number, const IndexCodec &row_index);
  [[nodiscard]] bool begin_key(ByteBuffer *key) const;
  [[nodiscard]] bool append_restore(const uchar *record, ByteBuffer *value) const;
  [[nodiscard]] bool append_extended(const uchar *image, uint parts, const uchar *next, ByteBuffer *key) const;
  bool decode_row_key(Slice row_key, ByteReader *restore, const MY_BITMAP *read_set, uchar *record) const;

  /// A part of the row key, as a secondary index sees it.
  struct RowPart {
    /// The part of this index that is the same whole column, so that the server does not repeat it in a key tuple; or
    /// -1.
    int same_part;
    /// Whether its restore data stands here, not with a part of the index itself.
    bool has_restore;
  };

  uint32_t m_index_id = 0;
  IndexKind m_kind = IndexKind::kSecondary;
  std::vector<KeyPartCodec> m_parts;
  std::vector<KeyPartCodec> m_row_key_parts;  ///< Secondary: the primary key's parts.
  std::vector<RowPart> m_row_parts;           ///< For each of m_row_key_parts.
  std::vector<bool> m_covered;                ///< By column: held whole, or in neither key.
};

/// Turns a search prefix into the smallest key after every key that starts with it. False if there is none (all bytes
/// are FF; it does not happen to a key with an index id the engine gave out).
[[nodiscard]] bool prefix_successor(ByteBuffer *key);

}  // namespace smartengine

#endif  // SMARTENGINE_KEY_CODEC_H
