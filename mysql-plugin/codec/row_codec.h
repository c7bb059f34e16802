// Rows: the value of a row index, made from a record buffer of the server and decoded back into one.
//
//   u8 format version (1) | u16 schema version
//   NULL bits, one for each nullable stored column in column order, from the lowest bit of the first byte
//   fixed part: the record's bytes of every fixed-size stored column, in column order, zeros where NULL
//   variable part: each variable-size stored column that is not NULL, in column order: varint length | bytes
//
// Fixed: numbers, DECIMAL, temporal types, ENUM, SET, BIT, BINARY(n). Variable: CHAR (without its trailing spaces),
// VARCHAR, VARBINARY, blobs, texts, JSON, geometry, VECTOR. Virtual generated columns are not stored.
//
// Places in the fixed part are known beforehand, and columns that stand side by side in the record are copied as one run,
// so a row costs a few copies and one step for each variable column. Blobs are decoded without a copy: the record
// points into the row's bytes.

#ifndef SMARTENGINE_ROW_CODEC_H
#define SMARTENGINE_ROW_CODEC_H

#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_buffer.h"
#include "compat.h"

namespace smartengine {

/// Encodes and decodes the rows of one table. Immutable once built, used by all handlers of the table at once.
class RowCodec {
 public:
  /// False with the cause in `why` if a column has a type that cannot be stored.
  [[nodiscard]] bool init(const TABLE_SHARE &share, uint16_t schema_version, std::string *why);

  /// Replaces `row` by the encoded record. Every stored column must be there. 0 or HA_ERR_OUT_OF_MEM.
  int encode(const uchar *record, ByteBuffer *row) const;

  /// Stores a row into the record: at least the columns of `read_set` (null: all, which an UPDATE, DELETE or REPLACE
  /// needs), and the NULL bits of all. A NULL column's own bytes become those of the table's defaults, as in InnoDB:
  /// CHECKSUM TABLE counts them. Blobs point into `row`, so it must stay where it is until the handler's next read. 0,
  /// or HA_ERR_CRASHED if the bytes are not a row of this table; the record is then undefined, but safe to read again.
  int decode(Slice row, const MY_BITMAP *read_set, uchar *record) const;

 private:
  /// Columns whose bytes stand side by side, in the record and in the row.
  struct Run {
    uint record_offset;
    uint size;
  };
  /// A fixed column that is NULL in some rows: its bytes are zeroed there, so that equal rows are equal bytes.
  struct NullableFixed {
    uint row_offset;  ///< From the start of the fixed part.
    uint record_offset;
    uint size;
    uint null_offset;
    uchar null_mask;
  };
  enum class VariableKind : uint8_t { kChar, kVarchar, kBlob };
  struct Variable {
    VariableKind kind;
    uint8_t length_bytes;  ///< Of a VARCHAR or blob in the record.
    uchar null_mask;       ///< 0: not nullable.
    uint null_offset;
    uint offset;
    uint64_t max_size;              ///< Bytes at most; of a CHAR: exactly.
    std::vector<uchar> null_bytes;  ///< What the record holds where it is NULL.
    uint field_index;
    const CHARSET_INFO *charset;
  };
  /// A nullable stored column's bit in the record.
  struct NullBit {
    uint offset;
    uchar mask;
  };

  void add_fixed(const Field &field, uint offset, uint null_offset);
  [[nodiscard]] bool add_variable(const Field &field, uint offset, uint null_offset, std::string *why);
  void find_null_run();
  void encode_null_bits(const uchar *record, uchar *to) const;
  void decode_null_bits(const uchar *from, uchar *record) const;
  size_t max_size(const uchar *record) const;
  void decode_null_columns(uchar *record) const;
  static Slice value_of(const Variable &column, const uchar *record);
  static bool store(const Variable &column, Slice value, uchar *record);

  uint16_t m_schema_version = 0;
  uint m_fixed_size = 0;
  std::vector<Run> m_runs;
  std::vector<NullableFixed> m_nullable_fixed;
  std::vector<uchar> m_null_bytes;  ///< What the record holds in each of them where it is NULL.
  std::vector<Variable> m_variables;
  std::vector<NullBit> m_null_bits;
  uint m_null_size = 0;          ///< Bytes of NULL bits in the row.
  bool m_null_is_run = false;    ///< The record's bits follow each other, from the first one's place on.
  size_t m_max_inline_size = 0;  ///< Of a row, its blobs aside.
};

}  // namespace smartengine

#endif  // SMARTENGINE_ROW_CODEC_H
