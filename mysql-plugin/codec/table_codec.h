// The codecs of one table: of its rows, its keys, and what handler::ref names a row by.

#ifndef SMARTENGINE_TABLE_CODEC_H
#define SMARTENGINE_TABLE_CODEC_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_buffer.h"
#include "codec/key_codec.h"
#include "codec/row_codec.h"
#include "codec/table_def.h"
#include "compat.h"

namespace smartengine {

/// All codecs of a table, built once per TABLE_SHARE (or once for an `altered_table`) and shared by its handlers.
class TableCodec {
 public:
  /// Null with the cause in `why` if `def` does not describe `share` or a column type is unknown. Keeps no pointer to
  /// either.
  static std::unique_ptr<TableCodec> create(const TABLE_SHARE &share, const TableDef &def, std::string *why);

  /// The index of TABLE_SHARE::key_info[key_number].
  const IndexCodec &index(uint key_number) const { return m_indexes[key_number]; }
  /// How many indexes the server knows.
  uint index_count() const { return m_key_count; }
  /// The index whose values are the rows: the primary key's or the hidden one.
  const IndexCodec &row_index() const { return m_indexes[m_row_index]; }
  bool has_hidden_row_id() const { return row_index().kind() == IndexKind::kHiddenPrimary; }
  const RowCodec &row() const { return m_row; }

  /// handler::ref: the primary key as the server's key tuple, or the hidden row id. A tuple is never longer than the
  /// server's own limit for keys, which an encoded key may be.
  uint ref_length() const { return m_ref_length; }
  /// Fills `ref` for the row in `record` (all primary key columns read).
  void make_ref(TABLE *table, const uchar *record, uint64_t hidden_row_id, uchar *ref) const;
  /// Replaces `key` by the key of the row that `ref` names. Errors as encode_row_key.
  int encode_ref(const uchar *ref, ByteBuffer *key) const;
  /// handler::cmp_ref: the order of two refs is the order of their rows.
  int compare_refs(const uchar *a, const uchar *b) const;
  /// The hidden row id out of a key of the row index.
  [[nodiscard]] static bool hidden_row_id_of_key(Slice key, uint64_t *row_id);
  /// The hidden row id out of an entry of a secondary index.
  [[nodiscard]] static bool hidden_row_id_of_entry(Slice key, Slice value, uint64_t *row_id);

 private:
  std::vector<IndexCodec> m_indexes;  ///< As key_info; then the hidden one.
  uint m_key_count = 0;
  size_t m_row_index = 0;
  uint m_ref_length = 0;
  RowCodec m_row;
};

}  // namespace smartengine

#endif  // SMARTENGINE_TABLE_CODEC_H
