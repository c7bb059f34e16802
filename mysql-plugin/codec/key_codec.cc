#include "codec/key_codec.h"

namespace smartengine {

namespace {

constexpr uchar kNull = 0;
constexpr uchar kNotNull = 1;
constexpr uchar kRowKeyInKey = 1;
constexpr uchar kRowKeyInValue = 2;
constexpr size_t kEntryHeaderSize = 3;
constexpr size_t kMaxNumberSize = 8;

int check_key_size(const ByteBuffer &key) { return key.size() > kMaxKeySize ? HA_ERR_TOO_BIG_ROW : 0; }

/// How many parts, from the first on, a map names. HA_WHOLE_KEY is the `own` parts of the index.
uint count_parts(key_part_map parts, size_t own) {
  if (parts == HA_WHOLE_KEY) return static_cast<uint>(own);
  uint count = 0;
  for (; (parts & 1) != 0; parts >>= 1) ++count;
  return count;
}

void invert(uchar *bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uchar>(~bytes[i]);
}

/// The bits of a floating-point number, so that they order as numbers do. `Bits` has the sign in its highest bit.
template <typename Bits>
Bits to_ordered(Bits bits) {
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  if (bits == kSign) bits = 0;  // -0 is 0
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

template <typename Bits>
Bits from_ordered(Bits bits) {
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  return (bits & kSign) != 0 ? bits & ~kSign : ~bits;
}

/// The record's bytes of an integer, reversed, with the sign bit XORed by `sign`.
void store_reversed(const uchar *from, uint size, uchar sign, uchar *to) {
  for (uint i = 0; i < size; ++i) to[i] = from[size - 1 - i];
  to[0] ^= sign;
}

}  // namespace

// KeyPartCodec

bool KeyPartCodec::init(const TABLE_SHARE &share, const KEY_PART_INFO &part, std::string *why) {
  const Field &field = *share.field[part.fieldnr - 1];
  m_field_index = field.field_index();
  m_offset = static_cast<uint>(field.field_ptr() - share.default_values);
  m_image_size = part.store_length;
  m_mask = (part.key_part_flag & HA_REVERSE_SORT) != 0 ? 0xFF : 0;
  if (field.is_nullable()) {
    m_null_offset = field.null_offset(share.default_values);
    m_null_mask = field.null_bit;
  }
  return init_kind(field, part, why);
}

bool KeyPartCodec::init_kind(const Field &field, const KEY_PART_INFO &part, std::string *why) {
  m_size = field.pack_length_in_rec();
  switch (static_cast<int>(field.real_type())) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
      m_kind = field.is_unsigned() ? Kind::kUnsigned : Kind::kSigned;
      return true;
    case MYSQL_TYPE_YEAR:
    case MYSQL_TYPE_NEWDATE:
    case MYSQL_TYPE_ENUM:
    case MYSQL_TYPE_SET:
      m_kind = Kind::kUnsigned;
      return true;
    case MYSQL_TYPE_FLOAT:
      m_kind = Kind::kFloat;
      m_restore = Restore::kZeroSign;
      return true;
    case MYSQL_TYPE_DOUBLE:
      m_kind = Kind::kDouble;
      m_restore = Restore::kZeroSign;
      return true;
    case MYSQL_TYPE_NEWDECIMAL:
    case MYSQL_TYPE_TIME2:
    case MYSQL_TYPE_DATETIME2:
    case MYSQL_TYPE_TIMESTAMP2:
    case MYSQL_TYPE_BIT:
      m_kind = Kind::kRaw;
      return true;
    case MYSQL_TYPE_STRING:
      if (field.charset() == &my_charset_bin) {
        m_kind = Kind::kRaw;
        m_covers = part.length >= m_size;
        m_size = std::min<uint>(m_size, part.length);
        return true;
      }
      [[fallthrough]];
    case MYSQL_TYPE_VARCHAR:
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_GEOMETRY:
    case kTypeVector:
      init_string(field, part);
      return true;
    default:
      *why = std::string("column '") + field.field_name + "' has type " + std::to_string(static_cast<int>(field.real_type())) +
             ", which cannot be in a key";
      return false;
  }
}

void KeyPartCodec::init_string(const Field &field, const KEY_PART_INFO &part) {
  m_charset = field.charset();
  m_collation = CollationCodec(m_charset);
  m_column_size = field.field_length;
  m_size = part.length;
  if (field.real_type() == MYSQL_TYPE_STRING) {
    m_kind = Kind::kChar;
  } else if (field.real_type() == MYSQL_TYPE_VARCHAR) {
    m_kind = Kind::kVarchar;
    m_length_bytes = static_cast<uint8_t>(field.get_length_bytes());
  } else {
    m_kind = Kind::kBlob;
    m_length_bytes = static_cast<uint8_t>(field.pack_length() - portable_sizeof_char_ptr);
  }
  m_covers = m_kind != Kind::kBlob && part.length >= field.field_length;
  if (!m_covers && m_charset->mbmaxlen > 1) m_max_chars = part.length / m_charset->mbmaxlen;
  if (!m_covers) return;
  if (!m_collation.is_reversible()) {
    m_restore = Restore::kBytes;
  } else if (m_kind == Kind::kVarchar && m_collation.is_pad_space()) {
    m_restore = Restore::kPadCount;
  }
}

Slice KeyPartCodec::value_in_record(const uchar *record) const {
  const uchar *at = record + m_offset;
  switch (m_kind) {
    case Kind::kChar:
      return clip(Slice{at, m_column_size});
    case Kind::kVarchar:
      return clip(Slice{at + m_length_bytes, load_length(at, m_length_bytes)});
    case Kind::kBlob: {
      Slice blob{nullptr, load_length(at, m_length_bytes)};
      memcpy(&blob.data, at + m_length_bytes, sizeof(blob.data));
      return clip(blob);
    }
    default:
      return Slice{at, m_size};
  }
}

Slice KeyPartCodec::value_in_image(const uchar *image) const {
  if (m_kind == Kind::kVarchar || m_kind == Kind::kBlob) {
    return clip(Slice{image + HA_KEY_BLOB_LENGTH, load_length(image, HA_KEY_BLOB_LENGTH)});
  }
  return m_kind == Kind::kChar ? clip(Slice{image, m_size}) : Slice{image, m_size};
}

/// Cuts a string to the part's length, and the spaces off a CHAR: they are padding under any collation.
Slice KeyPartCodec::clip(Slice value) const {
  if (!m_covers) {
    value.size = std::min<size_t>(value.size, m_size);
    if (m_max_chars != 0 && value.size > size_t{m_max_chars} * m_charset->mbminlen) {
      const char *start = reinterpret_cast<const char *>(value.data);
      const size_t end = m_charset->cset->charpos(m_charset, start, start + value.size, m_max_chars);
      value.size = std::min(value.size, end);
    }
  }
  if (m_kind == Kind::kChar) value.size = length_without_spaces(m_charset, value.data, value.size);
  return value;
}

bool KeyPartCodec::encode_record(const uchar *record, ByteBuffer *out) const {
  if (is_null(record)) return encode_value(Slice{}, true, out);
  return encode_value(value_in_record(record), false, out);
}

bool KeyPartCodec::encode_image(const uchar *image, ByteBuffer *out) const {
  if (!is_nullable()) return encode_value(value_in_image(image), false, out);
  if (image[0] != 0) return encode_value(Slice{}, true, out);
  return encode_value(value_in_image(image + HA_KEY_NULL_LENGTH), false, out);
}

bool KeyPartCodec::encode_value(Slice value, bool null, ByteBuffer *out) const {
  const size_t start = out->size();
  if (is_nullable() && !out->append_byte(null ? kNull : kNotNull)) return false;
  if (!null && !encode_content(value, out)) return false;
  if (m_mask != 0) invert(out->data() + start, out->size() - start);
  return true;
}

bool KeyPartCodec::encode_content(Slice value, ByteBuffer *out) const {
  if (is_string()) return m_collation.encode(value, out);
  if (!out->reserve(m_size)) return false;
  encode_fixed(value.data, out->end());
  out->advance(m_size);
  return true;
}

void KeyPartCodec::encode_fixed(const uchar *value, uchar *to) const {
  switch (m_kind) {
    case Kind::kUnsigned:
      store_reversed(value, m_size, 0, to);
      break;
    case Kind::kSigned:
      store_reversed(value, m_size, 0x80, to);
      break;
    case Kind::kFloat:
      store_be32(to, to_ordered(static_cast<uint32_t>(load_length(value, sizeof(uint32_t)))));
      break;
    case Kind::kDouble:
      store_be64(to, to_ordered(uint64_t{load_length(value, sizeof(uint64_t))}));
      break;
    default:
      memcpy(to, value, m_size);
      break;
  }
}

bool KeyPartCodec::encode_restore(const uchar *record, ByteBuffer *out) const {
  if (m_restore == Restore::kNone || is_null(record)) return true;
  const Slice value = value_in_record(record);
  if (m_restore == Restore::kZeroSign) {
    // The sign is the only bit of a negative zero.
    const bool negative = value.data[m_size - 1] == 0x80;
    const bool zero = std::all_of(value.data, value.data + m_size - 1, [](uchar byte) { return byte == 0; });
    return out->append_byte(negative && zero ? 1 : 0);
  }
  const size_t size = m_restore == Restore::kBytes ? value.size : value.size - length_without_spaces(m_charset, value.data, value.size);
  if (!out->reserve(kMaxVarintSize)) return false;
  uchar *const to = out->end();
  out->advance(static_cast<size_t>(store_varint(to, static_cast<uint32_t>(size)) - to));
  return m_restore == Restore::kPadCount || out->append(value);
}

bool KeyPartCodec::decode(ByteReader *key, ByteReader *restore, uchar *record) const {
  if (is_nullable()) {
    const uchar *flag = key->take(1);
    if (flag == nullptr || (*flag ^ m_mask) > kNotNull) return false;
    const bool null = (*flag ^ m_mask) == kNull;
    if (record != nullptr) {
      if (null) {
        record[m_null_offset] |= m_null_mask;
        if (m_kind == Kind::kVarchar) store_length(record + m_offset, 0, m_length_bytes);
      } else {
        record[m_null_offset] &= static_cast<uchar>(~m_null_mask);
      }
    }
    if (null) return true;
  }
  return is_string() ? decode_string(key, restore, record) : decode_fixed(key, restore, record);
}

bool KeyPartCodec::decode_fixed(ByteReader *key, ByteReader *restore, uchar *record) const {
  uchar buffer[kMaxNumberSize];
  const uchar *from = key->take(m_size);
  if (from == nullptr) return false;
  uchar sign = 0;
  if (m_restore == Restore::kZeroSign && restore != nullptr) {
    const uchar *flag = restore->take(1);
    if (flag == nullptr || *flag > 1) return false;
    if (*flag != 0) sign = 0x80;
  }
  if (record == nullptr || !m_covers) return true;
  uchar *to = record + m_offset;
  if (m_kind == Kind::kRaw) {
    memcpy(to, from, m_size);
    if (m_mask != 0) invert(to, m_size);
    return true;
  }
  memcpy(buffer, from, m_size);
  if (m_mask != 0) invert(buffer, m_size);
  switch (m_kind) {
    case Kind::kFloat:
      store_be32(buffer, from_ordered(load_be32(buffer)));
      break;
    case Kind::kDouble:
      store_be64(buffer, from_ordered(load_be64(buffer)));
      break;
    case Kind::kSigned:
      buffer[0] ^= 0x80;
      break;
    default:
      break;
  }
  store_reversed(buffer, m_size, 0, to);
  to[m_size - 1] |= sign;
  return true;
}

bool KeyPartCodec::decode_string(ByteReader *key, ByteReader *restore, uchar *record) const {
  if (m_restore == Restore::kBytes && restore != nullptr) {
    uint32_t size;
    if (!m_collation.skip(key, m_mask) || !restore->take_varint(&size)) return false;
    const uchar *from = restore->take(size);
    if (from == nullptr) return false;
    if (record == nullptr) return true;
    if (size > m_column_size) return false;
    memcpy(record + m_offset + m_length_bytes, from, size);
    store_size(size, record);
    return true;
  }
  const bool whole = m_covers && (m_restore == Restore::kNone || (m_restore == Restore::kPadCount && restore != nullptr));
  if (record != nullptr && whole) return decode_reversible(key, restore, record);
  if (m_restore == Restore::kPadCount && restore != nullptr) {
    uint32_t spaces;
    if (!restore->take_varint(&spaces)) return false;
  }
  return m_collation.skip(key, m_mask);
}

bool KeyPartCodec::decode_reversible(ByteReader *key, ByteReader *restore, uchar *record) const {
  uchar *to = record + m_offset + m_length_bytes;
  size_t size;
  if (!m_collation.decode(key, m_mask, to, m_column_size, &size)) return false;
  if (m_restore == Restore::kPadCount) {
    uint32_t spaces;
    if (!restore->take_varint(&spaces) || spaces > m_column_size - size) return false;
    memset(to + size, ' ', spaces);
    size += spaces;
  }
  store_size(size, record);
  return true;
}

/// Finishes a string whose bytes are in the record: its length, or the padding after it.
void KeyPartCodec::store_size(size_t size, uchar *record) const {
  if (m_kind == Kind::kVarchar) {
    store_length(record + m_offset, size, m_length_bytes);
  } else {
    fill_with_spaces(m_charset, record + m_offset + size, m_column_size - size);
  }
}

int KeyPartCodec::compare_images(const uchar *a, const uchar *b) const {
  if (is_nullable()) {
    ++a;
    ++b;
  }
  int order;
  if (is_string()) {
    const Slice left = value_in_image(a);
    const Slice right = value_in_image(b);
    order = m_charset->coll->strnncollsp(m_charset, left.data, left.size, right.data, right.size);
  } else if (m_kind == Kind::kRaw) {
    order = memcmp(a, b, m_size);
  } else {
    uchar left[kMaxNumberSize];
    uchar right[kMaxNumberSize];
    encode_fixed(a, left);
    encode_fixed(b, right);
    order = memcmp(left, right, m_size);
  }
  return m_mask != 0 ? -order : order;
}

// IndexCodec

bool IndexCodec::init(const TABLE_SHARE &share, uint key_number, const IndexDef &def, std::string *why) {
  m_index_id = def.index_id;
  m_kind = def.kind;
  if (m_kind == IndexKind::kHiddenPrimary) return true;
  const KEY &key = share.key_info[key_number];
  m_parts.resize(key.user_defined_key_parts);
  for (uint i = 0; i < key.user_defined_key_parts; ++i) {
    if (!m_parts[i].init(share, key.key_part[i], why)) return false;
  }
  return true;
}

/// Tells a secondary index what row keys look like. How a key tuple goes on with the primary key's columns is the
/// server's rule (add_pk_parts_to_sk): a column that the index has whole is not repeated.
void IndexCodec::extend(const TABLE_SHARE &share, uint key_number, const IndexCodec &row_index) {
  m_row_key_parts = row_index.m_parts;
  const KEY &key = share.key_info[key_number];
  for (const KeyPartCodec &row_part : m_row_key_parts) {
    RowPart part{-1, row_part.has_restore()};
    const uint column_size = share.field[row_part.field_index()]->key_length();
    for (size_t i = 0; i < m_parts.size(); ++i) {
      if (m_parts[i].field_index() != row_part.field_index()) continue;
      if (part.same_part < 0 && key.key_part[i].length == column_size) part.same_part = static_cast<int>(i);
      if (m_parts[i].covers_column()) part.has_restore = false;
    }
    m_row_parts.push_back(part);
  }
  m_covered.assign(share.fields, true);
  for (const bool whole : {false, true}) {
    for (const auto *parts : {&m_parts, &m_row_key_parts}) {
      for (const KeyPartCodec &part : *parts) {
        if (part.covers_column() == whole) m_covered[part.field_index()] = whole;
      }
    }
  }
}

bool IndexCodec::covers(const MY_BITMAP &columns) const {
  for (uint i = bitmap_get_first_set(&columns); i != MY_BIT_NONE; i = bitmap_get_next_set(&columns, i)) {
    if (!m_covered[i]) return false;
  }
  return true;
}

bool IndexCodec::begin_key(ByteBuffer *key) const {
  key->clear();
  if (!key->reserve(kIndexIdSize)) return false;
  store_be32(key->end(), m_index_id);
  key->advance(kIndexIdSize);
  return true;
}

int IndexCodec::range(ByteBuffer *lower, ByteBuffer *upper) const {
  if (!begin_key(lower) || !begin_key(upper)) return HA_ERR_OUT_OF_MEM;
  store_be32(upper->data(), m_index_id + 1);
  return 0;
}

int IndexCodec::encode_row_key(const uchar *record, uint64_t hidden_row_id, ByteBuffer *key) const {
  if (!begin_key(key)) return HA_ERR_OUT_OF_MEM;
  if (m_kind == IndexKind::kHiddenPrimary) {
    if (!key->reserve(kHiddenRowIdSize)) return HA_ERR_OUT_OF_MEM;
    store_be64(key->end(), hidden_row_id);
    key->advance(kHiddenRowIdSize);
    return 0;
  }
  for (const KeyPartCodec &part : m_parts) {
    if (!part.encode_record(record, key)) return HA_ERR_OUT_OF_MEM;
  }
  return check_key_size(*key);
}

int IndexCodec::encode_entry(const uchar *record, Slice row_key, ByteBuffer *key, ByteBuffer *value, bool *unique) const {
  if (!begin_key(key)) return HA_ERR_OUT_OF_MEM;
  for (const KeyPartCodec &part : m_parts) {
    if (!part.encode_record(record, key)) return HA_ERR_OUT_OF_MEM;
  }
  *unique = m_kind == IndexKind::kUnique && !has_null(record);
  uchar header[kEntryHeaderSize];
  header[0] = *unique ? kRowKeyInValue : kRowKeyInKey;
  const size_t place = *unique ? row_key.size : key->size();
  if (place > kMaxKeySize) return HA_ERR_TOO_BIG_ROW;
  store_be16(header + 1, static_cast<uint16_t>(place));
  if (!value->assign(Slice{header, sizeof(header)}) || !(*unique ? value : key)->append(row_key) || !append_restore(record, value)) {
    return HA_ERR_OUT_OF_MEM;
  }
  return check_key_size(*key);
}

bool IndexCodec::append_restore(const uchar *record, ByteBuffer *value) const {
  for (const KeyPartCodec &part : m_parts) {
    if (!part.encode_restore(record, value)) return false;
  }
  for (size_t i = 0; i < m_row_key_parts.size(); ++i) {
    if (m_row_parts[i].has_restore && !m_row_key_parts[i].encode_restore(record, value)) return false;
  }
  return true;
}

int IndexCodec::encode_search(const uchar *image, key_part_map parts, ByteBuffer *key) const {
  if (!begin_key(key)) return HA_ERR_OUT_OF_MEM;
  const uint wanted = count_parts(parts, m_parts.size());
  const uchar *next = image;
  uint done = 0;
  for (; done < wanted && done < m_parts.size(); ++done) {
    if (!m_parts[done].encode_image(next, key)) return HA_ERR_OUT_OF_MEM;
    next += m_parts[done].image_size();
  }
  if (done < wanted && !append_extended(image, wanted - done, next, key)) return HA_ERR_OUT_OF_MEM;
  return check_key_size(*key);
}

/// Goes on with `parts` more parts of the tuple, which start at `next`.
bool IndexCodec::append_extended(const uchar *image, uint parts, const uchar *next, ByteBuffer *key) const {
  for (size_t i = 0; i < m_row_key_parts.size() && parts != 0; ++i) {
    const uchar *from = next;
    if (m_row_parts[i].same_part >= 0) {
      from = image;
      for (int own = 0; own < m_row_parts[i].same_part; ++own) from += m_parts[own].image_size();
    } else {
      next += m_row_key_parts[i].image_size();
      --parts;
    }
    if (!m_row_key_parts[i].encode_image(from, key)) return false;
  }
  return true;
}

bool IndexCodec::is_full_key(key_part_map parts) const { return count_parts(parts, m_parts.size()) >= m_parts.size(); }

bool IndexCodec::image_has_null(const uchar *image, key_part_map parts) const {
  const size_t wanted = std::min<size_t>(count_parts(parts, m_parts.size()), m_parts.size());
  for (size_t i = 0; i < wanted; ++i) {
    if (m_parts[i].is_nullable() && image[0] != 0) return true;
    image += m_parts[i].image_size();
  }
  return false;
}

bool IndexCodec::has_null(const uchar *record) const {
  return std::any_of(m_parts.begin(), m_parts.end(), [record](const KeyPartCodec &part) { return part.is_null(record); });
}

bool IndexCodec::row_key_of_entry(Slice key, Slice value, Slice *row_key) {
  if (value.size < kEntryHeaderSize) return false;
  const size_t place = load_be16(value.data + 1);
  if (value.data[0] == kRowKeyInKey) {
    if (place > key.size) return false;
    *row_key = Slice{key.data + place, key.size - place};
    return true;
  }
  if (value.data[0] != kRowKeyInValue || place > value.size - kEntryHeaderSize) return false;
  *row_key = Slice{value.data + kEntryHeaderSize, place};
  return true;
}

int IndexCodec::decode_entry(Slice key, Slice value, const MY_BITMAP *read_set, uchar *record) const {
  Slice row_key;
  if (key.size < kIndexIdSize || load_be32(key.data) != m_index_id || !row_key_of_entry(key, value, &row_key)) {
    return HA_ERR_CRASHED;
  }
  const size_t header = kEntryHeaderSize + (value.data[0] == kRowKeyInValue ? row_key.size : 0);
  ByteReader restore(Slice{value.data + header, value.size - header});
  ByteReader from(Slice{key.data + kIndexIdSize, key.size - kIndexIdSize});
  for (const KeyPartCodec &part : m_parts) {
    const bool wanted = read_set == nullptr || bitmap_is_set(read_set, part.field_index());
    if (!part.decode(&from, &restore, wanted ? record : nullptr)) return HA_ERR_CRASHED;
  }
  return decode_row_key(row_key, &restore, read_set, record) ? 0 : HA_ERR_CRASHED;
}

bool IndexCodec::decode_row_key(Slice row_key, ByteReader *restore, const MY_BITMAP *read_set, uchar *record) const {
  ByteReader from(row_key);
  for (size_t i = 0; i < m_row_key_parts.size(); ++i) {
    const KeyPartCodec &part = m_row_key_parts[i];
    // A column that the index has whole is there already.
    const bool wanted =
        (read_set == nullptr || bitmap_is_set(read_set, part.field_index())) && (m_row_parts[i].has_restore || !part.has_restore());
    if (!part.decode(&from, m_row_parts[i].has_restore ? restore : nullptr, wanted ? record : nullptr)) return false;
  }
  return true;
}

bool prefix_successor(ByteBuffer *key) {
  size_t size = key->size();
  while (size != 0 && key->data()[size - 1] == 0xFF) --size;
  key->truncate(size);
  if (size == 0) return false;
  ++key->data()[size - 1];
  return true;
}

}  // namespace smartengine
