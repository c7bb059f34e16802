#include "codec/table_def.h"

#include <initializer_list>

#include "base/checksum.h"
#include "compat.h"

namespace smartengine {

namespace {

constexpr uint32_t kMagic = 0x53455444;  // "SETD"
constexpr uint16_t kFormatVersion = 1;
constexpr uchar kTableTag = 'T';
constexpr uchar kCounterTag = 'C';
constexpr size_t kTagEnd = 5;  // u32 index id, u8 tag

/// Appends to a buffer and remembers whether anything failed.
class Writer {
 public:
  explicit Writer(ByteBuffer *out) : m_out(out) {}

  void u8(uint8_t value) { bytes(Slice{&value, 1}); }
  void u16(uint16_t value) {
    uchar buffer[2];
    store_be16(buffer, value);
    bytes(Slice{buffer, sizeof(buffer)});
  }
  void u32(uint32_t value) {
    uchar buffer[4];
    store_be32(buffer, value);
    bytes(Slice{buffer, sizeof(buffer)});
  }
  void u64(uint64_t value) {
    uchar buffer[8];
    store_be64(buffer, value);
    bytes(Slice{buffer, sizeof(buffer)});
  }
  void count(size_t value) {
    m_ok = m_ok && value <= UINT16_MAX;
    u16(static_cast<uint16_t>(value));
  }
  void string(const std::string &value) {
    count(value.size());
    bytes(Slice{reinterpret_cast<const uchar *>(value.data()), value.size()});
  }
  bool ok() const { return m_ok; }

 private:
  void bytes(Slice value) { m_ok = m_ok && m_out->append(value); }

  ByteBuffer *m_out;
  bool m_ok = true;
};

/// Takes values off the front; after the first that is cut short, all are zero and ok() is false.
class Reader {
 public:
  explicit Reader(Slice bytes) : m_bytes(bytes) {}

  uint8_t u8() {
    const uchar *from = take(1);
    return from == nullptr ? 0 : *from;
  }
  uint16_t u16() {
    const uchar *from = take(2);
    return from == nullptr ? 0 : load_be16(from);
  }
  uint32_t u32() {
    const uchar *from = take(4);
    return from == nullptr ? 0 : load_be32(from);
  }
  uint64_t u64() {
    const uchar *from = take(8);
    return from == nullptr ? 0 : load_be64(from);
  }
  std::string string() {
    const uint16_t size = u16();
    const uchar *from = take(size);
    return from == nullptr ? std::string() : std::string(reinterpret_cast<const char *>(from), size);
  }
  bool ok() const { return m_ok; }
  bool at_end() const { return m_bytes.left() == 0; }

 private:
  const uchar *take(size_t size) {
    const uchar *from = m_ok ? m_bytes.take(size) : nullptr;
    m_ok = from != nullptr;
    return from;
  }

  ByteReader m_bytes;
  bool m_ok = true;
};

ColumnDef describe_column(const Field &field) {
  ColumnDef column;
  column.name = field.field_name;
  column.real_type = static_cast<uint8_t>(field.real_type());
  if (field.is_nullable()) column.flags |= ColumnDef::kNullable;
  if (field.is_unsigned()) column.flags |= ColumnDef::kUnsigned;
  if (field.is_gcol()) {
    column.flags |= field.is_virtual_gcol() ? ColumnDef::kVirtualGenerated : ColumnDef::kStoredGenerated;
  }
  column.charset_id = static_cast<uint16_t>(field.charset()->number);
  column.length = field.field_length;
  column.decimals = static_cast<uint8_t>(field.decimals());
  return column;
}

std::vector<KeyPartDef> describe_parts(const KEY &key) {
  std::vector<KeyPartDef> parts;
  for (uint i = 0; i < key.user_defined_key_parts; ++i) {
    const KEY_PART_INFO &from = key.key_part[i];
    KeyPartDef part;
    part.column = static_cast<uint16_t>(from.fieldnr - 1);
    part.length = from.length;
    if ((from.key_part_flag & HA_REVERSE_SORT) != 0) part.flags |= KeyPartDef::kDescending;
    parts.push_back(part);
  }
  return parts;
}

IndexDef describe_index(const TABLE_SHARE &share, uint key_number) {
  const KEY &key = share.key_info[key_number];
  IndexDef index;
  index.name = key.name;
  index.kind = key_number == share.primary_key ? IndexKind::kPrimary
               : (key.flags & HA_NOSAME) != 0  ? IndexKind::kUnique
                                               : IndexKind::kSecondary;
  if (key.is_visible) index.flags |= IndexDef::kVisible;
  index.parts = describe_parts(key);
  return index;
}

bool equal(const KeyPartDef &a, const KeyPartDef &b) { return a.column == b.column && a.length == b.length && a.flags == b.flags; }

/// Whether all values have one format, whatever width or precision the column declares. The server does not show all of that: a table that is made again by what
/// it shows has the defaults.
bool has_one_format(uint8_t real_type) {
  switch (real_type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
    case MYSQL_TYPE_YEAR:
      return true;
    default:
      return false;
  }
}

std::string describe_difference(const ColumnDef &stored, const ColumnDef &wanted) {
  const auto differ = [&](const char *what, unsigned a, unsigned b) {
    return "column '" + wanted.name + "' was stored with " + what + ' ' + std::to_string(a) + ", the table has " + std::to_string(b);
  };
  if (stored.real_type != wanted.real_type) return differ("type", stored.real_type, wanted.real_type);
  const bool one_format = has_one_format(wanted.real_type);
  if (stored.length != wanted.length && !one_format) return differ("length", stored.length, wanted.length);
  if (stored.charset_id != wanted.charset_id) return differ("collation", stored.charset_id, wanted.charset_id);
  if (stored.flags != wanted.flags) return differ("flags", stored.flags, wanted.flags);
  if (stored.decimals != wanted.decimals && !one_format) return differ("decimals", stored.decimals, wanted.decimals);
  return {};
}

void encode_column(const ColumnDef &column, Writer *to) {
  to->string(column.name);
  to->u8(column.real_type);
  to->u8(column.flags);
  to->u16(column.charset_id);
  to->u32(column.length);
  to->u8(column.decimals);
}

ColumnDef decode_column(Reader *from) {
  ColumnDef column;
  column.name = from->string();
  column.real_type = from->u8();
  column.flags = from->u8();
  column.charset_id = from->u16();
  column.length = from->u32();
  column.decimals = from->u8();
  return column;
}

void encode_index(const IndexDef &index, Writer *to) {
  to->string(index.name);
  to->u32(index.index_id);
  to->u8(static_cast<uint8_t>(index.kind));
  to->u8(index.flags);
  to->count(index.parts.size());
  for (const KeyPartDef &part : index.parts) {
    to->u16(part.column);
    to->u16(part.length);
    to->u8(part.flags);
  }
}

IndexDef decode_index(Reader *from) {
  IndexDef index;
  index.name = from->string();
  index.index_id = from->u32();
  index.kind = static_cast<IndexKind>(from->u8());
  index.flags = from->u8();
  const uint16_t parts = from->u16();
  for (uint16_t i = 0; i < parts && from->ok(); ++i) {
    KeyPartDef part;
    part.column = from->u16();
    part.length = from->u16();
    part.flags = from->u8();
    index.parts.push_back(part);
  }
  return index;
}

/// Describes what no writer produces although the checksum is right; empty if all is well.
std::string find_contradiction(const TableDef &def) {
  size_t row_indexes = 0;
  for (const IndexDef &index : def.indexes) {
    if (index.kind < IndexKind::kPrimary || index.kind > IndexKind::kHiddenPrimary) return "unknown kind of index";
    if (index.index_id == kDictionaryIndex) return "index id 0";
    if (index.kind == IndexKind::kPrimary || index.kind == IndexKind::kHiddenPrimary) ++row_indexes;
    for (const KeyPartDef &part : index.parts) {
      if (part.column >= def.columns.size()) return "key part without column";
    }
  }
  return row_indexes == 1 ? std::string() : std::to_string(row_indexes) + " row indexes";
}

bool append_tag(uchar tag, ByteBuffer *out) {
  uchar prefix[kTagEnd];
  store_be32(prefix, kDictionaryIndex);
  prefix[kTagEnd - 1] = tag;
  return out->append(Slice{prefix, sizeof(prefix)});
}

}  // namespace

uint32_t TableDef::count_indexes(const TABLE_SHARE &share) { return share.keys + (share.primary_key == MAX_KEY ? 1 : 0); }

TableDef TableDef::describe(const TABLE_SHARE &share, uint64_t table_id, uint32_t first_index_id) {
  TableDef def;
  def.table_id = table_id;
  for (uint i = 0; i < share.fields; ++i) def.columns.push_back(describe_column(*share.field[i]));
  for (uint i = 0; i < share.keys; ++i) {
    IndexDef index = describe_index(share, i);
    index.index_id = first_index_id++;
    def.indexes.push_back(std::move(index));
  }
  if (share.primary_key == MAX_KEY) {
    IndexDef index;
    index.index_id = first_index_id;
    index.kind = IndexKind::kHiddenPrimary;
    def.indexes.push_back(std::move(index));
  }
  return def;
}

bool TableDef::encode(ByteBuffer *out) const {
  const size_t start = out->size();
  Writer to(out);
  to.u32(kMagic);
  to.u16(kFormatVersion);
  to.u64(table_id);
  to.u16(schema_version);
  to.u16(flags);
  to.count(columns.size());
  for (const ColumnDef &column : columns) encode_column(column, &to);
  to.count(indexes.size());
  for (const IndexDef &index : indexes) encode_index(index, &to);
  to.string(comment);
  if (to.ok()) to.u32(crc32c(out->slice_from(start)));
  if (!to.ok()) out->truncate(start);
  return to.ok();
}

bool TableDef::decode(Slice value, TableDef *def, std::string *why) {
  if (value.size < 10) {
    *why = "only " + std::to_string(value.size) + " bytes";
    return false;
  }
  const Slice content{value.data, value.size - 4};
  if (crc32c(content) != load_be32(value.data + content.size)) {
    *why = "checksum mismatch";
    return false;
  }
  Reader from(content);
  if (from.u32() != kMagic) {
    *why = "no table definition";
    return false;
  }
  if (const uint16_t version = from.u16(); version == 0 || version > kFormatVersion) {
    *why = "format version " + std::to_string(version) + ", this plugin reads up to " + std::to_string(kFormatVersion);
    return false;
  }
  *def = TableDef();
  def->table_id = from.u64();
  def->schema_version = from.u16();
  def->flags = from.u16();
  const uint16_t columns = from.u16();
  for (uint16_t i = 0; i < columns && from.ok(); ++i) def->columns.push_back(decode_column(&from));
  const uint16_t indexes = from.u16();
  for (uint16_t i = 0; i < indexes && from.ok(); ++i) def->indexes.push_back(decode_index(&from));
  def->comment = from.string();
  if (!from.ok() || !from.at_end()) {
    *why = from.ok() ? "bytes after the end" : "cut short";
    return false;
  }
  *why = find_contradiction(*def);
  return why->empty();
}

bool TableDef::matches(const TABLE_SHARE &share, std::string *why) const {
  if (columns.size() != share.fields) {
    *why = "stored with " + std::to_string(columns.size()) + " columns, the table has " + std::to_string(share.fields);
    return false;
  }
  for (uint i = 0; i < share.fields; ++i) {
    *why = describe_difference(columns[i], describe_column(*share.field[i]));
    if (!why->empty()) return false;
  }
  if (indexes.size() != count_indexes(share)) {
    *why = "stored with " + std::to_string(indexes.size()) + " indexes, the table needs " + std::to_string(count_indexes(share));
    return false;
  }
  for (uint i = 0; i < share.keys; ++i) {
    const IndexDef wanted = describe_index(share, i);
    const IndexDef *stored = find_index(share.key_info[i].name);
    if (stored == nullptr) {
      *why = "index '" + wanted.name + "' is not stored";
      return false;
    }
    if (stored->kind != wanted.kind ||
        !std::equal(stored->parts.begin(), stored->parts.end(), wanted.parts.begin(), wanted.parts.end(), equal)) {
      *why = "index '" + wanted.name + "' was stored with another definition";
      return false;
    }
  }
  if ((share.primary_key == MAX_KEY) != (row_index().kind == IndexKind::kHiddenPrimary)) {
    *why = "the stored table and this one differ in having a primary key";
    return false;
  }
  return true;
}

const IndexDef *TableDef::find_index(const char *name) const {
  for (const IndexDef &index : indexes) {
    if (index.kind != IndexKind::kHiddenPrimary && my_strcasecmp(system_charset_info, index.name.c_str(), name) == 0) {
      return &index;
    }
  }
  return nullptr;
}

IndexDef *TableDef::find_index(const char *name) { return const_cast<IndexDef *>(static_cast<const TableDef *>(this)->find_index(name)); }

const IndexDef &TableDef::row_index() const {
  const auto is_row_index = [](const IndexDef &index) {
    return index.kind == IndexKind::kPrimary || index.kind == IndexKind::kHiddenPrimary;
  };
  return *std::find_if(indexes.begin(), indexes.end(), is_row_index);
}

Slice table_name_of_path(const char *path) {
  const char *end = path + strlen(path);
  const char *start = end;
  int slashes = 0;
  while (start != path) {
    if (start[-1] == '/' && ++slashes == 2) break;
    --start;
  }
  return Slice{reinterpret_cast<const uchar *>(start), static_cast<size_t>(end - start)};
}

bool all_tables_range(ByteBuffer *lower, ByteBuffer *upper) {
  lower->clear();
  upper->clear();
  return append_tag(kTableTag, lower) && append_tag(kTableTag + 1, upper);
}

bool append_counter_key(uint64_t table_id, ByteBuffer *out) {
  uchar id[8];
  store_be64(id, table_id);
  return append_tag(kCounterTag, out) && out->append(Slice{id, sizeof(id)});
}

}  // namespace smartengine
