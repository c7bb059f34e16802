#include "codec/row_codec.h"

#include <algorithm>
#include <utility>

#include "codec/collation.h"

namespace smartengine {

namespace {

constexpr uchar kFormatVersion = 1;
constexpr size_t kHeaderSize = 3;

bool is_null_at(const uchar *record, uint null_offset, uchar null_mask) { return null_mask != 0 && (record[null_offset] & null_mask) != 0; }

enum class Storage { kFixed, kVariable, kUnknown };

Storage storage_of(const Field &field) {
  switch (static_cast<int>(field.real_type())) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
    case MYSQL_TYPE_YEAR:
    case MYSQL_TYPE_NEWDATE:
    case MYSQL_TYPE_TIME2:
    case MYSQL_TYPE_DATETIME2:
    case MYSQL_TYPE_TIMESTAMP2:
    case MYSQL_TYPE_ENUM:
    case MYSQL_TYPE_SET:
      return Storage::kFixed;
    case MYSQL_TYPE_BIT:
      // Bits that share a byte with NULL bits exist only for engines that ask for it.
      return field.pack_length() == field.pack_length_in_rec() ? Storage::kFixed : Storage::kUnknown;
    case MYSQL_TYPE_STRING:
      return field.charset() == &my_charset_bin ? Storage::kFixed : Storage::kVariable;
    case MYSQL_TYPE_VARCHAR:
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_JSON:
    case MYSQL_TYPE_GEOMETRY:
    case kTypeVector:
      return Storage::kVariable;
    default:
      return Storage::kUnknown;
  }
}

}  // namespace

bool RowCodec::init(const TABLE_SHARE &share, uint16_t schema_version, std::string *why) {
  m_schema_version = schema_version;
  for (uint i = 0; i < share.fields; ++i) {
    const Field &field = *share.field[i];
    if (field.is_virtual_gcol()) continue;
    const uint offset = static_cast<uint>(field.field_ptr() - share.default_values);
    const uint null_offset = field.is_nullable() ? field.null_offset(share.default_values) : 0;
    if (field.is_nullable()) m_null_bits.push_back(NullBit{null_offset, field.null_bit});
    switch (storage_of(field)) {
      case Storage::kFixed:
        add_fixed(field, offset, null_offset);
        break;
      case Storage::kVariable:
        if (!add_variable(field, offset, null_offset, why)) return false;
        break;
      case Storage::kUnknown:
        *why = std::string("column '") + field.field_name + "' has type " + std::to_string(static_cast<int>(field.real_type())) +
               ", which cannot be stored";
        return false;
    }
  }
  m_null_size = static_cast<uint>((m_null_bits.size() + 7) / 8);
  find_null_run();
  m_max_inline_size = kHeaderSize + m_null_size + m_fixed_size;
  for (const Variable &column : m_variables) {
    m_max_inline_size += kMaxVarintSize + (column.kind == VariableKind::kBlob ? 0 : column.max_size);
  }
  return true;
}

void RowCodec::add_fixed(const Field &field, uint offset, uint null_offset) {
  const uint size = field.pack_length_in_rec();
  // BINARY(0): nothing is copied, and there may be no bytes to copy it from.
  if (size == 0) return;
  if (field.is_nullable()) {
    m_nullable_fixed.push_back(NullableFixed{m_fixed_size, offset, size, null_offset, field.null_bit});
    m_null_bytes.insert(m_null_bytes.end(), field.field_ptr(), field.field_ptr() + size);
  }
  if (!m_runs.empty() && m_runs.back().record_offset + m_runs.back().size == offset) {
    m_runs.back().size += size;
  } else {
    m_runs.push_back(Run{offset, size});
  }
  m_fixed_size += size;
}

bool RowCodec::add_variable(const Field &field, uint offset, uint null_offset, std::string *why) {
  Variable column{};
  column.null_mask = field.is_nullable() ? field.null_bit : 0;
  column.null_offset = null_offset;
  column.offset = offset;
  column.field_index = field.field_index();
  column.charset = field.charset();
  if (field.real_type() == MYSQL_TYPE_STRING) {
    column.kind = VariableKind::kChar;
    column.max_size = field.field_length;
  } else if (field.real_type() == MYSQL_TYPE_VARCHAR) {
    column.kind = VariableKind::kVarchar;
    column.length_bytes = static_cast<uint8_t>(field.get_length_bytes());
    column.max_size = field.field_length;
  } else {
    const uint length_bytes = field.pack_length() - portable_sizeof_char_ptr;
    if (length_bytes < 1 || length_bytes > 4) {
      *why = std::string("column '") + field.field_name + "' has lengths of " + std::to_string(length_bytes) + " bytes";
      return false;
    }
    column.kind = VariableKind::kBlob;
    column.length_bytes = static_cast<uint8_t>(length_bytes);
    column.max_size = (uint64_t{1} << (8 * length_bytes)) - 1;
  }
  if (field.is_nullable()) {
    size_t size = field.pack_length();
    if (column.kind == VariableKind::kVarchar) size = column.length_bytes + load_length(field.field_ptr(), column.length_bytes);
    column.null_bytes.assign(field.field_ptr(), field.field_ptr() + size);
  }
  m_variables.push_back(std::move(column));
  return true;
}

void RowCodec::find_null_run() {
  m_null_is_run = !m_null_bits.empty();
  for (size_t i = 1; i < m_null_bits.size(); ++i) {
    const NullBit &last = m_null_bits[i - 1];
    const bool wraps = last.mask == 0x80;
    const NullBit next{last.offset + (wraps ? 1 : 0), static_cast<uchar>(wraps ? 1 : last.mask << 1)};
    if (m_null_bits[i].offset != next.offset || m_null_bits[i].mask != next.mask) m_null_is_run = false;
  }
}

void RowCodec::encode_null_bits(const uchar *record, uchar *to) const {
  if (m_null_bits.empty()) return;
  if (!m_null_is_run) {
    memset(to, 0, m_null_size);
    for (size_t i = 0; i < m_null_bits.size(); ++i) {
      if ((record[m_null_bits[i].offset] & m_null_bits[i].mask) != 0) to[i / 8] |= static_cast<uchar>(1 << (i % 8));
    }
    return;
  }
  // The bits in bulk, shifted down to start at bit 0; those past the last are cleared.
  const uchar *from = record + m_null_bits.front().offset;
  const uchar *last = record + m_null_bits.back().offset;
  const uint shift = static_cast<uint>(__builtin_ctz(m_null_bits.front().mask));
  for (uint i = 0; i < m_null_size; ++i, ++from) {
    const uint next = from < last ? from[1] : 0;
    to[i] = static_cast<uchar>((from[0] | (next << 8)) >> shift);
  }
  const uint used = m_null_bits.size() % 8;
  if (used != 0) to[m_null_size - 1] &= static_cast<uchar>((1 << used) - 1);
}

void RowCodec::decode_null_bits(const uchar *from, uchar *record) const {
  uint i = 0;
  for (const NullBit &bit : m_null_bits) {
    const bool null = ((from[i / 8] >> (i % 8)) & 1) != 0;
    record[bit.offset] = static_cast<uchar>(null ? record[bit.offset] | bit.mask : record[bit.offset] & ~bit.mask);
    ++i;
  }
}

void RowCodec::decode_null_columns(uchar *record) const {
  const uchar *bytes = m_null_bytes.data();
  for (const NullableFixed &column : m_nullable_fixed) {
    if (is_null_at(record, column.null_offset, column.null_mask)) memcpy(record + column.record_offset, bytes, column.size);
    bytes += column.size;
  }
}

size_t RowCodec::max_size(const uchar *record) const {
  size_t size = m_max_inline_size;
  for (const Variable &column : m_variables) {
    if (column.kind == VariableKind::kBlob && !is_null_at(record, column.null_offset, column.null_mask)) {
      size += load_length(record + column.offset, column.length_bytes);
    }
  }
  return size;
}

Slice RowCodec::value_of(const Variable &column, const uchar *record) {
  const uchar *at = record + column.offset;
  if (column.kind == VariableKind::kChar) {
    return Slice{at, length_without_spaces(column.charset, at, column.max_size)};
  }
  const size_t size = load_length(at, column.length_bytes);
  if (column.kind == VariableKind::kVarchar) return Slice{at + column.length_bytes, size};
  Slice blob{nullptr, size};
  memcpy(&blob.data, at + column.length_bytes, sizeof(blob.data));
  return blob;
}

bool RowCodec::store(const Variable &column, Slice value, uchar *record) {
  if (value.size > column.max_size) return false;
  uchar *at = record + column.offset;
  switch (column.kind) {
    case VariableKind::kChar:
      memcpy(at, value.data, value.size);
      fill_with_spaces(column.charset, at + value.size, column.max_size - value.size);
      break;
    case VariableKind::kVarchar:
      store_length(at, value.size, column.length_bytes);
      memcpy(at + column.length_bytes, value.data, value.size);
      break;
    case VariableKind::kBlob:
      store_length(at, value.size, column.length_bytes);
      memcpy(at + column.length_bytes, &value.data, sizeof(value.data));
      break;
  }
  return true;
}

int RowCodec::encode(const uchar *record, ByteBuffer *row) const {
  row->clear();
  if (!row->reserve(max_size(record))) return HA_ERR_OUT_OF_MEM;
  uchar *to = row->end();
  to[0] = kFormatVersion;
  store_be16(to + 1, m_schema_version);
  to += kHeaderSize;
  encode_null_bits(record, to);
  to += m_null_size;
  uchar *const fixed = to;
  for (const Run &run : m_runs) {
    memcpy(to, record + run.record_offset, run.size);
    to += run.size;
  }
  for (const NullableFixed &column : m_nullable_fixed) {
    if (is_null_at(record, column.null_offset, column.null_mask)) memset(fixed + column.row_offset, 0, column.size);
  }
  for (const Variable &column : m_variables) {
    if (is_null_at(record, column.null_offset, column.null_mask)) continue;
    const Slice value = value_of(column, record);
    to = store_varint(to, static_cast<uint32_t>(value.size));
    if (value.size != 0) memcpy(to, value.data, value.size);
    to += value.size;
  }
  row->advance(static_cast<size_t>(to - row->end()));
  return 0;
}

int RowCodec::decode(Slice row, const MY_BITMAP *read_set, uchar *record) const {
  ByteReader from(row);
  const uchar *header = from.take(kHeaderSize + m_null_size + m_fixed_size);
  if (header == nullptr || header[0] != kFormatVersion || load_be16(header + 1) != m_schema_version) {
    return HA_ERR_CRASHED;
  }
  const uchar *null_bits = header + kHeaderSize;
  decode_null_bits(null_bits, record);
  const uchar *fixed = null_bits + m_null_size;
  for (const Run &run : m_runs) {
    memcpy(record + run.record_offset, fixed, run.size);
    fixed += run.size;
  }
  if (std::any_of(null_bits, null_bits + m_null_size, [](uchar bits) { return bits != 0; })) decode_null_columns(record);
  for (const Variable &column : m_variables) {
    if (is_null_at(record, column.null_offset, column.null_mask)) {
      // A CHAR(0) has none.
      if (!column.null_bytes.empty()) memcpy(record + column.offset, column.null_bytes.data(), column.null_bytes.size());
      continue;
    }
    uint32_t size;
    if (!from.take_varint(&size)) return HA_ERR_CRASHED;
    const uchar *value = from.take(size);
    if (value == nullptr) return HA_ERR_CRASHED;
    if (read_set != nullptr && !bitmap_is_set(read_set, column.field_index)) {
      // The pointer of an earlier row must not be followed.
      if (column.kind == VariableKind::kBlob) store_length(record + column.offset, 0, column.length_bytes);
      continue;
    }
    if (!store(column, Slice{value, size}, record)) return HA_ERR_CRASHED;
  }
  return from.left() == 0 ? 0 : HA_ERR_CRASHED;
}

}  // namespace smartengine
