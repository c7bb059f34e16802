// Tables made of fields in a record, as codecs see them, without a server's table: for checks, counts and fuzzing.

#ifndef SMARTENGINE_TESTS_SAMPLE_TABLES_H
#define SMARTENGINE_TESTS_SAMPLE_TABLES_H

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "codec/table_codec.h"
#include "my_sys.h"
#include "sql/field.h"

namespace smartengine {

/// A record, its fields and its keys. The first byte holds the NULL bits.
class SampleTable {
 public:
  /// Bytes after the record that nobody may write. The address sanitizer sees that by itself, if they are not ours.
#ifdef __SANITIZE_ADDRESS__
  static constexpr size_t kGuard = 0;
#else
  static constexpr size_t kGuard = 4096;
#endif

  explicit SampleTable(size_t record_size) : m_record_size(record_size), m_record(new uchar[record_size + kGuard]()) {
    memset(m_record.get() + record_size, kGuardByte, kGuard);
  }
  SampleTable(const SampleTable &) = delete;
  SampleTable &operator=(const SampleTable &) = delete;

  std::unique_ptr<TableCodec> codec(std::string *why) const { return TableCodec::create(m_share, TableDef::describe(m_share, 1, 10), why); }

  uchar *record() { return m_record.get(); }

  /// Whether the bytes after the record are as they were.
  bool intact() const {
    const uchar *end = m_record.get() + m_record_size;
    return std::all_of(end, end + kGuard, [](uchar byte) { return byte == kGuardByte; });
  }

 protected:
  using Make = std::function<Field *(uchar *at, uchar *nulls)>;

  /// The next `size` bytes of the record are a field's.
  void add(size_t size, const Make &make) {
    if (m_size + size > m_record_size) abort();
    m_places.push_back(m_size);
    m_fields.push_back(make(m_record.get() + m_size, m_record.get()));
    m_fields.back()->set_field_index(static_cast<uint16>(m_fields.size() - 1));
    m_size += size;
  }

  static KEY_PART_INFO part(uint16 fieldnr, uint16 length, uint16 store_length, uint16 flags) {
    KEY_PART_INFO info;
    info.fieldnr = fieldnr;
    info.length = length;
    info.store_length = store_length;
    info.key_part_flag = flags;
    return info;
  }

  void add_key(const char *name, ulong flags, std::vector<KEY_PART_INFO> parts) {
    if (m_key_count == kMostKeys) abort();
    m_parts[m_key_count] = std::move(parts);
    KEY &key = m_keys[m_key_count];
    key.name = name;
    key.flags = flags;
    key.key_part = m_parts[m_key_count].data();
    key.user_defined_key_parts = static_cast<uint>(m_parts[m_key_count].size());
    ++m_key_count;
  }

  /// Once all fields and keys are there; the first key is the primary one.
  void finish() {
    m_share.fields = static_cast<uint>(m_fields.size());
    m_fields.push_back(nullptr);
    m_share.field = m_fields.data();
    m_share.default_values = m_record.get();
    m_share.key_info = m_keys;
    m_share.keys = m_key_count;
    m_share.primary_key = 0;
  }

  uchar *place(size_t field) { return m_record.get() + m_places[field]; }
  void store(size_t field, const char *bytes, size_t size) { memcpy(place(field), bytes, size); }
  void clear() { memset(m_record.get(), 0, m_record_size); }

  /// A CHAR, filled with spaces.
  void store_char(size_t field, const std::string &text, size_t size) {
    memset(place(field), ' ', size);
    store(field, text.data(), text.size());
  }

  /// A VARCHAR whose length is one byte.
  void store_varchar(size_t field, const std::string &text) {
    *place(field) = static_cast<uchar>(text.size());
    memcpy(place(field) + 1, text.data(), text.size());
  }

  /// A BLOB whose length is two bytes.
  void store_blob(size_t field, std::string bytes) {
    m_blob = std::move(bytes);
    store_length(place(field), m_blob.size(), 2);
    const char *data = m_blob.data();
    memcpy(place(field) + 2, &data, sizeof(data));
  }

  MEM_ROOT m_memory{PSI_NOT_INSTRUMENTED, 1024};
  TABLE_SHARE m_share;

 private:
  static constexpr uchar kGuardByte = 0xA5;
  static constexpr uint kMostKeys = 3;

  KEY m_keys[kMostKeys];
  std::vector<KEY_PART_INFO> m_parts[kMostKeys];
  uint m_key_count = 0;
  std::vector<Field *> m_fields;
  std::vector<size_t> m_places;
  size_t m_size = 1;
  std::string m_blob;
  const size_t m_record_size;
  std::unique_ptr<uchar[]> m_record;
};

/// i INT, f DOUBLE NULL, v VARCHAR(20) NULL in latin1, c CHAR(4) in utf8mb4_0900_ai_ci, b BLOB NULL; PRIMARY KEY (c), UNIQUE KEY (v, f DESC),
/// KEY (i).
class FiveColumns : public SampleTable {
 public:
  FiveColumns() : SampleTable(60) {
    const CHARSET_INFO *utf8 = get_charset_by_name("utf8mb4_0900_ai_ci", MYF(0));
    const CHARSET_INFO *latin1 = get_charset_by_name("latin1_swedish_ci", MYF(0));
    add(4, [&](uchar *at, uchar *) { return new (&m_memory) Field_long(at, 11, nullptr, 0, Field::NONE, "i", false, false); });
    add(8, [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_double(at, 22, nulls, 1, Field::NONE, "f", 31, false, false); });
    add(21,
        [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_varstring(at, 20, 1, nulls, 2, Field::NONE, "v", &m_share, latin1); });
    add(16, [&](uchar *at, uchar *) { return new (&m_memory) Field_string(at, 16, nullptr, 0, Field::NONE, "c", utf8); });
    add(10,
        [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_blob(at, nulls, 4, Field::NONE, "b", &m_share, 2, &my_charset_bin); });
    add_key("PRIMARY", HA_NOSAME, {part(4, 16, 16, 0)});
    add_key("u", HA_NOSAME, {part(3, 20, 23, 0), part(2, 8, 9, HA_REVERSE_SORT)});
    add_key("s", 0, {part(1, 4, 4, 0)});
    finish();
  }

  void fill(uint32_t i, double f, const std::string &v, const std::string &c, const std::string &b, uchar nulls) {
    clear();
    *record() = nulls;
    store_length(place(0), i, 4);
    memcpy(place(1), &f, sizeof(f));
    store_varchar(2, v);
    store_char(3, c, 16);
    store_blob(4, b);
  }

  double f() {
    double value = 0;
    memcpy(&value, place(1), sizeof(value));
    return value;
  }
  const uchar *v() { return place(2); }
  const uchar *c() { return place(3); }
};

/// w VARCHAR(12) in utf8mb4_0900_bin, k VARCHAR(20) NULL in latin1_bin, c CHAR(8) in latin1_bin, y BINARY(0) NULL, z CHAR(0) NULL;
/// PRIMARY KEY (w), KEY (k DESC, c), UNIQUE KEY (c DESC):
/// strings that a key gives back itself, in each way.
class BinaryStrings : public SampleTable {
 public:
  BinaryStrings() : SampleTable(79) {
    const CHARSET_INFO *utf8 = get_charset_by_name("utf8mb4_0900_bin", MYF(0));
    const CHARSET_INFO *latin1 = get_charset_by_name("latin1_bin", MYF(0));
    add(49, [&](uchar *at, uchar *) { return new (&m_memory) Field_varstring(at, 48, 1, nullptr, 0, Field::NONE, "w", &m_share, utf8); });
    add(21,
        [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_varstring(at, 20, 1, nulls, 1, Field::NONE, "k", &m_share, latin1); });
    add(8, [&](uchar *at, uchar *) { return new (&m_memory) Field_string(at, 8, nullptr, 0, Field::NONE, "c", latin1); });
    add(0, [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_string(at, 0, nulls, 2, Field::NONE, "y", &my_charset_bin); });
    add(0, [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_string(at, 0, nulls, 4, Field::NONE, "z", latin1); });
    add_key("PRIMARY", HA_NOSAME, {part(1, 48, 50, 0)});
    add_key("k", 0, {part(2, 20, 23, HA_REVERSE_SORT), part(3, 8, 8, 0)});
    add_key("c", HA_NOSAME, {part(3, 8, 8, HA_REVERSE_SORT)});
    finish();
  }

  void fill() {
    clear();
    store_varchar(0, "a  \xC3\xA4 ");
    store_varchar(1, "caf\xE9  x  ");
    store_char(2, "b  c", 8);
  }
};

/// id BIGINT, a INT, b SMALLINT NULL, c TINYINT, d DOUBLE NULL, amount DECIMAL(12,2), m MEDIUMINT, at BIGINT UNSIGNED,
/// name VARCHAR(60) and code CHAR(8) in utf8mb4_0900_ai_ci, note VARCHAR(200) NULL in latin1, data BLOB NULL; PRIMARY KEY (id), KEY (name, a),
/// UNIQUE KEY (code, at DESC).
class TwelveColumns : public SampleTable {
 public:
  TwelveColumns() : SampleTable(525) {
    const CHARSET_INFO *utf8 = get_charset_by_name("utf8mb4_0900_ai_ci", MYF(0));
    const CHARSET_INFO *latin1 = get_charset_by_name("latin1_swedish_ci", MYF(0));
    add(8, [&](uchar *at, uchar *) { return new (&m_memory) Field_longlong(at, 20, nullptr, 0, Field::NONE, "id", false, false); });
    add(4, [&](uchar *at, uchar *) { return new (&m_memory) Field_long(at, 11, nullptr, 0, Field::NONE, "a", false, false); });
    add(2, [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_short(at, 6, nulls, 1, Field::NONE, "b", false, false); });
    add(1, [&](uchar *at, uchar *) { return new (&m_memory) Field_tiny(at, 4, nullptr, 0, Field::NONE, "c", false, false); });
    add(8, [&](uchar *at, uchar *nulls) { return new (&m_memory) Field_double(at, 22, nulls, 2, Field::NONE, "d", 31, false, false); });
    add(6,
        [&](uchar *at, uchar *) { return new (&m_memory) Field_new_decimal(at, 14, nullptr, 0, Field::NONE, "amount", 2, false, false); });
    add(3, [&](uchar *at, uchar *) { return new (&m_memory) Field_medium(at, 9, nullptr, 0, Field::NONE, "m", false, false); });
    add(8, [&](uchar *at, uchar *) { return new (&m_memory) Field_longlong(at, 20, nullptr, 0, Field::NONE, "at", false, true); });
    add(241,
        [&](uchar *at, uchar *) { return new (&m_memory) Field_varstring(at, 240, 1, nullptr, 0, Field::NONE, "name", &m_share, utf8); });
    add(32, [&](uchar *at, uchar *) { return new (&m_memory) Field_string(at, 32, nullptr, 0, Field::NONE, "code", utf8); });
    add(201, [&](uchar *at, uchar *nulls) {
      return new (&m_memory) Field_varstring(at, 200, 1, nulls, 4, Field::NONE, "note", &m_share, latin1);
    });
    add(10, [&](uchar *at, uchar *nulls) {
      return new (&m_memory) Field_blob(at, nulls, 8, Field::NONE, "data", &m_share, 2, &my_charset_bin);
    });
    add_key("PRIMARY", HA_NOSAME, {part(1, 8, 8, 0)});
    add_key("by_name", 0, {part(9, 240, 242, 0), part(2, 4, 4, 0)});
    add_key("by_code", HA_NOSAME, {part(10, 32, 32, 0), part(8, 8, 8, HA_REVERSE_SORT)});
    finish();
  }

  /// The same row whenever it is called; d is NULL in it.
  void fill() {
    clear();
    *record() = 2;
    store(0, "\x15\xCD\x5B\x07\0\0\0\0", 8);
    store(1, "\x39\x30\0\0", 4);
    store(2, "\xFE\xFF", 2);
    store(3, "\x07", 1);
    store(5, "\x80\0\x04\xD2\x38\0", 6);
    store(6, "\x5C\xCB\x0F", 3);
    store(7, "\x99\xB6\x3A\x51\x40\x04\xE2\x01", 8);
    store_varchar(8,
                  "Katarzyna Br\xC3\xBC"
                  "ckner-O");
    store_char(9, "PL-0042", 32);
    store_varchar(10, "left a parcel with the neighbour; called");
    store_blob(11, std::string(180, 'x'));
  }
};

}  // namespace smartengine

#endif  // SMARTENGINE_TESTS_SAMPLE_TABLES_H
