// Fixed loops through the codecs, whose instructions `cargo xtask counts` counts: a row of twelve columns, and its entries in two indexes.
//
//   mysqld list        the names of the loops
//   mysqld run LOOP    runs one and prints how many times it went round
//
// Only what happens inside `measured` is counted, and nothing in there depends on anything but the values below.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/table_codec.h"
#include "my_sys.h"
#include "sql/field.h"
#include "start.h"

namespace smartengine {

namespace {

constexpr int kTimes = 2000;

/// id BIGINT, a INT, b SMALLINT NULL, c TINYINT, d DOUBLE NULL, amount DECIMAL(12,2), m MEDIUMINT, at BIGINT UNSIGNED,
/// name VARCHAR(60) and code CHAR(8) in utf8mb4_0900_ai_ci, note VARCHAR(200) NULL in latin1, data BLOB NULL; PRIMARY KEY (id), KEY (name, a),
/// UNIQUE KEY (code, at DESC).
class Table {
 public:
  Table() {
    const CHARSET_INFO *utf8 = get_charset_by_name("utf8mb4_0900_ai_ci", MYF(0));
    const CHARSET_INFO *latin1 = get_charset_by_name("latin1_swedish_ci", MYF(0));
    uchar *nulls = m_record;
    add(8, [&](uchar *at) { return new (&m_memory) Field_longlong(at, 20, nullptr, 0, Field::NONE, "id", false, false); });
    add(4, [&](uchar *at) { return new (&m_memory) Field_long(at, 11, nullptr, 0, Field::NONE, "a", false, false); });
    add(2, [&](uchar *at) { return new (&m_memory) Field_short(at, 6, nulls, 1, Field::NONE, "b", false, false); });
    add(1, [&](uchar *at) { return new (&m_memory) Field_tiny(at, 4, nullptr, 0, Field::NONE, "c", false, false); });
    add(8, [&](uchar *at) { return new (&m_memory) Field_double(at, 22, nulls, 2, Field::NONE, "d", 31, false, false); });
    add(6, [&](uchar *at) { return new (&m_memory) Field_new_decimal(at, 14, nullptr, 0, Field::NONE, "amount", 2, false, false); });
    add(3, [&](uchar *at) { return new (&m_memory) Field_medium(at, 9, nullptr, 0, Field::NONE, "m", false, false); });
    add(8, [&](uchar *at) { return new (&m_memory) Field_longlong(at, 20, nullptr, 0, Field::NONE, "at", false, true); });
    add(241, [&](uchar *at) { return new (&m_memory) Field_varstring(at, 240, 1, nullptr, 0, Field::NONE, "name", &m_share, utf8); });
    add(32, [&](uchar *at) { return new (&m_memory) Field_string(at, 32, nullptr, 0, Field::NONE, "code", utf8); });
    add(201, [&](uchar *at) { return new (&m_memory) Field_varstring(at, 200, 1, nulls, 4, Field::NONE, "note", &m_share, latin1); });
    add(10, [&](uchar *at) { return new (&m_memory) Field_blob(at, nulls, 8, Field::NONE, "data", &m_share, 2, &my_charset_bin); });
    for (size_t i = 0; i < m_fields.size(); ++i) m_fields[i]->set_field_index(static_cast<uint16>(i));
    m_share.fields = static_cast<uint>(m_fields.size());
    m_fields.push_back(nullptr);
    m_share.field = m_fields.data();
    m_share.default_values = m_record;
    m_share.key_info = m_keys;
    m_share.keys = 3;
    m_share.primary_key = 0;
    describe(0, "PRIMARY", HA_NOSAME, {part(1, 8, 8, 0)});
    describe(1, "by_name", 0, {part(9, 240, 242, 0), part(2, 4, 4, 0)});
    describe(2, "by_code", HA_NOSAME, {part(10, 32, 32, 0), part(8, 8, 8, HA_REVERSE_SORT)});
    std::string why;
    m_codec = TableCodec::create(m_share, TableDef::describe(m_share, 1, 10), &why);
    if (m_codec == nullptr) {
      fprintf(stderr, "no codec: %s\n", why.c_str());
      exit(EXIT_FAILURE);
    }
  }

  const TableCodec &codec() const { return *m_codec; }
  uchar *record() { return m_record; }

  void fill() {
    memset(m_record, 0, sizeof(m_record));
    m_record[0] = 2;  // d is NULL
    store(0, "\x15\xCD\x5B\x07\0\0\0\0", 8);
    store(1, "\x39\x30\0\0", 4);
    store(2, "\xFE\xFF", 2);
    store(3, "\x07", 1);
    store(5, "\x80\0\x04\xD2\x38\0", 6);
    store(6, "\x5C\xCB\x0F", 3);
    store(7, "\x99\xB6\x3A\x51\x40\x04\xE2\x01", 8);
    store(8,
          "\x15"
          "Katarzyna Br\xC3\xBC"
          "ckner-O",
          22);
    memset(place(9), ' ', 32);
    store(9, "PL-0042", 7);
    store(10,
          "\x28"
          "left a parcel with the neighbour; called",
          41);
    m_blob.assign(180, 'x');
    store(11, "\xB4\0", 2);
    const char *data = m_blob.data();
    memcpy(place(11) + 2, &data, sizeof(data));
  }

 private:
  void add(size_t size, const std::function<Field *(uchar *)> &make) {
    m_places.push_back(m_size);
    m_fields.push_back(make(m_record + m_size));
    m_size += size;
  }

  uchar *place(size_t field) { return m_record + m_places[field]; }
  void store(size_t field, const char *bytes, size_t size) { memcpy(place(field), bytes, size); }

  static KEY_PART_INFO part(uint16 fieldnr, uint16 length, uint16 store_length, uint16 flags) {
    KEY_PART_INFO info;
    info.fieldnr = fieldnr;
    info.length = length;
    info.store_length = store_length;
    info.key_part_flag = flags;
    return info;
  }

  void describe(size_t number, const char *name, ulong flags, std::vector<KEY_PART_INFO> parts) {
    m_parts[number] = std::move(parts);
    m_keys[number].name = name;
    m_keys[number].flags = flags;
    m_keys[number].key_part = m_parts[number].data();
    m_keys[number].user_defined_key_parts = static_cast<uint>(m_parts[number].size());
  }

  MEM_ROOT m_memory{PSI_NOT_INSTRUMENTED, 1024};
  TABLE_SHARE m_share;
  KEY m_keys[3];
  std::vector<KEY_PART_INFO> m_parts[3];
  std::vector<Field *> m_fields;
  std::vector<size_t> m_places;
  size_t m_size = 1;
  std::string m_blob;
  alignas(16) uchar m_record[1024] = {};
  std::unique_ptr<TableCodec> m_codec;
};

/// What is counted: `--toggle-collect` names this function. Whether each turn succeeded.
__attribute__((noinline)) bool measured(int times, const std::function<bool()> &work) {
  for (int turn = 0; turn < times; ++turn) {
    if (!work()) return false;
  }
  return true;
}

struct Loop {
  const char *name;
  std::function<bool()> work;
};

/// Buffers are used again, as a handler does.
struct Loops {
  Table table;
  ByteBuffer row, row_key, key, value;
  ByteBuffer by_name_key, by_name_value;
  bool unique = false;
  std::vector<Loop> loops;

  Loops() {
    const TableCodec &codec = table.codec();
    table.fill();
    const bool made =
        codec.row().encode(table.record(), &row) == 0 && codec.row_index().encode_row_key(table.record(), 0, &row_key) == 0 &&
        codec.index(1).encode_entry(table.record(), row_key.slice_from(kIndexIdSize), &by_name_key, &by_name_value, &unique) == 0;
    if (!made) exit(EXIT_FAILURE);
    loops = {{"encode_row", [&] { return codec.row().encode(table.record(), &value) == 0; }},
             {"decode_row", [&] { return codec.row().decode(row.slice(), nullptr, table.record()) == 0; }},
             {"encode_row_key", [&] { return codec.row_index().encode_row_key(table.record(), 0, &key) == 0; }},
             {"encode_entry", [&] { return entry(1); }},
             {"encode_unique_entry", [&] { return entry(2); }},
             {"decode_entry",
              [&] { return codec.index(1).decode_entry(by_name_key.slice(), by_name_value.slice(), nullptr, table.record()) == 0; }}};
  }

  bool entry(uint index) {
    return table.codec().index(index).encode_entry(table.record(), row_key.slice_from(kIndexIdSize), &key, &value, &unique) == 0;
  }

  /// Whether the row is still what it was, after whatever loop.
  bool intact() {
    ByteBuffer again;
    return table.codec().row().encode(table.record(), &again) == 0 && again.slice() == row.slice();
  }
};

}  // namespace

int run(int argc, char **argv) {
  Loops all;
  if (argc == 2 && std::string_view(argv[1]) == "list") {
    for (const Loop &loop : all.loops) puts(loop.name);
    return EXIT_SUCCESS;
  }
  for (const Loop &loop : all.loops) {
    if (argc != 3 || std::string_view(argv[1]) != "run" || std::string_view(argv[2]) != loop.name) continue;
    if (!loop.work() || !measured(kTimes, loop.work) || !all.intact()) {
      fprintf(stderr, "%s does not work\n", loop.name);
      return EXIT_FAILURE;
    }
    printf("%d\n", kTimes);
    return EXIT_SUCCESS;
  }
  fprintf(stderr, "arguments: list | run LOOP\n");
  return EXIT_FAILURE;
}

}  // namespace smartengine
