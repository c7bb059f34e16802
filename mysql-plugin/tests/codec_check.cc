// Checks of the codecs that need the server's charsets and fields but no table: a loadable function for the test suite.
//
//   CREATE FUNCTION codec_check RETURNS STRING SONAME 'codec_check.so'; SELECT codec_check('collations');
//
// answers `ok`, or the first thing that is wrong. What is checked: `collations` holds every collation of the server against
// its own comparison; `definitions`, `catalog`, `rows` and `entries` hold golden bytes, round trips, and that no cut or flipped bit is
// taken for something else where a checksum stands, or makes a decoder write outside the record where none does. `servers` holds which
// servers the plugin refuses to run in.

#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/server_match.h"
#include "catalog/entry.h"
#include "my_sys.h"
#include "mysql/udf_registration_types.h"
#include "sample_tables.h"

namespace smartengine {

namespace {

std::string hex(Slice bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes.size; ++i) {
    text += kDigits[bytes.data[i] >> 4];
    text += kDigits[bytes.data[i] & 15];
  }
  return text;
}

Slice slice(const std::string &bytes) { return {reinterpret_cast<const uchar *>(bytes.data()), bytes.size()}; }

std::string expect(const char *what, Slice bytes, const char *golden) {
  const std::string text = hex(bytes);
  return text == golden ? std::string() : std::string(what) + " is " + text;
}

/// The bytes in memory of their own, so that a checker of memory sees a step past the end.
std::vector<uchar> copy_of(Slice bytes, size_t size) { return {bytes.data, bytes.data + std::min(size, bytes.size)}; }

Slice slice(const std::vector<uchar> &bytes) { return {bytes.data(), bytes.size()}; }

int sign(int order) { return order < 0 ? -1 : (order > 0 ? 1 : 0); }

// Collations

/// Characters that collations treat in ways of their own: spaces, ignorable ones, contractions, expansions, Thai vowels, Kana.
constexpr my_wc_t kCharacters[] = {' ',    ' ',    ' ',    '\t',  1,     'a',    'A',     'b',    'c',    'h',    'H',    'C',
                                   's',    'z',    'l',    'j',   0xE4,  0xDF,   0x301,   0x308,  0x10D,  0x17E,  0xE01,  0xE40,
                                   0xE41,  0xE48,  0xE2D,  0xA0,  0xAD,  '-',    '.',     '\n',   0x4E00, 0x4E8C, 0x3042, 0x30A2,
                                   0x30FC, 0x3041, 0xFDFA, 0x149, 0x1C6, 0xFB01, 0x1F600, 0x200B, 0x3000, 0xFF21, '0',    '1'};

class CollationCheck {
 public:
  explicit CollationCheck(const CHARSET_INFO *charset) : m_charset(charset), m_codec(charset), m_random(charset->number) {}

  std::string run() {
    for (int i = 0; i < 150; ++i) add(random_string());
    for (size_t i = 0; i < m_strings.size(); ++i) {
      std::string wrong = check_end(i);
      if (!wrong.empty()) return wrong;
      for (size_t j = 0; j < m_strings.size(); ++j) {
        const Slice a = slice(m_strings[i]);
        const Slice b = slice(m_strings[j]);
        const int wanted = sign(m_charset->coll->strnncollsp(m_charset, a.data, a.size, b.data, b.size));
        if (sign(compare(slice(m_keys[i]), slice(m_keys[j]))) != wanted) {
          return name() + ": " + hex(a) + " and " + hex(b) + " compare as " + std::to_string(wanted) + ", not so their keys";
        }
      }
    }
    return {};
  }

 private:
  std::string name() const { return m_charset->m_coll_name; }
  uint pick(uint count) { return static_cast<uint>(m_random() % count); }

  void append(my_wc_t character, std::string *to) const {
    uchar bytes[8];
    const int size = m_charset->cset->wc_mb(m_charset, character, bytes, bytes + sizeof(bytes));
    if (size > 0) to->append(reinterpret_cast<const char *>(bytes), static_cast<size_t>(size));
  }

  my_wc_t random_character() {
    switch (pick(8)) {
      case 0:
        return pick(0x100);
      case 1:
        return pick(0xD800);
      case 2:
        return 0x10000 + pick(0x10000);
      default:
        return kCharacters[pick(std::size(kCharacters))];
    }
  }

  std::string random_string() {
    std::string string;
    for (uint length = pick(8); length != 0; --length) {
      append(random_character(), &string);
      for (uint spaces = pick(40) == 0 ? pick(300) : 0; spaces != 0; --spaces) append(' ', &string);
    }
    return string;
  }

  /// A string, and it again with spaces after it.
  void add(std::string string) {
    for (int i = 0; i < 2; ++i) {
      ByteBuffer key;
      if (!m_codec.encode(slice(string), &key)) return;
      m_strings.push_back(string);
      m_keys.emplace_back(reinterpret_cast<const char *>(key.data()), key.size());
      append(' ', &string);
    }
  }

  /// A key says itself where it ends, upright and inverted, and gives its string back where it can.
  std::string check_end(size_t at) {
    const Slice string = slice(m_strings[at]);
    for (const uchar mask : {uchar{0}, uchar{0xFF}}) {
      std::vector<uchar> key = copy_of(slice(m_keys[at] + "+"), SIZE_MAX);
      for (uchar &byte : key) byte ^= mask;
      ByteReader skipped(slice(key));
      if (!m_codec.skip(&skipped, mask) || skipped.left() != 1) return name() + ": no end of " + hex(slice(key));
      if (!m_codec.is_reversible()) continue;
      ByteReader read(slice(key));
      std::vector<uchar> back(string.size + 1);
      size_t size = 0;
      const size_t wanted = m_codec.is_pad_space() ? length_without_spaces(string.data, string.size) : string.size;
      if (!m_codec.decode(&read, mask, back.data(), string.size, &size) || read.left() != 1 ||
          Slice{back.data(), size} != Slice{string.data, wanted}) {
        return name() + ": " + hex(string) + " comes back as " + hex({back.data(), size});
      }
    }
    return {};
  }

  const CHARSET_INFO *m_charset;
  CollationCodec m_codec;
  std::mt19937 m_random;
  std::vector<std::string> m_strings;
  std::vector<std::string> m_keys;
};

/// Keys that must stay as they are: one for each way a string is encoded.
std::string check_golden_strings() {
  const struct {
    const char *collation;
    const char *string;
    const char *key;
  } cases[] = {{"utf8mb4_0900_ai_ci", "Ab z", "585a028a00"},
               {"utf8mb4_0900_ai_ci", "a\xC3\xA9\xE4\xB8\xAD\t", "58608bfb408bce2d01020100"},
               {"utf8mb4_0900_as_cs", "aB", "5e6000060600020400"},
               {"utf8mb4_ja_0900_as_cs_ks", "a\xE3\x81\x8B", "5e911fbc000606000205000e000200"},
               {"utf8mb4_general_ci", "a  b\tc \xC3\xA9 ", "4402fd460100094802fe4c0280"},
               {"utf8mb4_unicode_ci", "a-b\xE4\xB8\xAD", "580a5a8bfb408bce2d0280"},
               {"utf8mb4_bin", "a \x01 b  ", "6120010120fe622080"},
               {"utf8mb4_0900_bin", "a b ", "612062200000"},
               {"latin1_swedish_ci", "a\t b  ", "410920fe422080"},
               {"latin2_czech_cs", "ach ", "030c01031901032f01032f00ff0000"},
               {"big5_chinese_ci", "a\xA4\x40", "41a4402080"},
               {"tis620_thai_ci", "\xE0\xA1", "a1e02080"}};
  for (const auto &one : cases) {
    const CHARSET_INFO *charset = get_charset_by_name(one.collation, MYF(0));
    if (charset == nullptr) return std::string("there is no ") + one.collation;
    ByteBuffer key;
    if (!CollationCodec(charset).encode(slice(std::string(one.string)), &key)) return "not encoded";
    std::string wrong = expect(one.collation, key.slice(), one.key);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string check_collations() {
  const std::string golden = check_golden_strings();
  if (!golden.empty()) return golden;
  constexpr uint kCollations = 2048;
  for (uint id = 1; id < kCollations; ++id) {
    const CHARSET_INFO *charset = get_charset(id, MYF(0));
    if (charset == nullptr) continue;
    std::string wrong = CollationCheck(charset).run();
    if (!wrong.empty()) return wrong;
  }
  return {};
}

// Table definitions

std::string check_definitions() {
  TableDef def;
  def.table_id = 0x1122;
  def.columns = {{"id", MYSQL_TYPE_LONG, ColumnDef::kUnsigned, 63, 10, 0}, {"name", MYSQL_TYPE_VARCHAR, ColumnDef::kNullable, 255, 80, 31}};
  def.indexes = {{"PRIMARY", 7, IndexKind::kPrimary, IndexDef::kVisible, {{0, 4, 0}}},
                 {"n", 8, IndexKind::kUnique, 0, {{1, 40, KeyPartDef::kDescending}}}};
  def.comment = "d/t";
  ByteBuffer bytes;
  if (!def.encode(&bytes)) return "not encoded";
  std::string wrong = expect("the definition", bytes.slice(),
                             "534554440001"
                             "0000000000001122"
                             "000100000002"
                             "00026964"
                             "0302003f0000000a00"
                             "00046e616d65"
                             "0f0100ff00000050"
                             "1f"
                             "0002"
                             "00075052494d415259"
                             "000000070101"
                             "0001"
                             "0000000400"
                             "00016e"
                             "000000080200"
                             "0001"
                             "0001002801"
                             "0003642f74"
                             "5ae371e7");
  TableDef back;
  std::string why;
  ByteBuffer again;
  if (!TableDef::decode(bytes.slice(), &back, &why)) return "not decoded: " + why;
  if (!back.encode(&again) || again.slice() != bytes.slice()) return "another definition came back";
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes.data()[bit / 8] ^= static_cast<uchar>(1 << (bit % 8));
    if (TableDef::decode(bytes.slice(), &back, &why)) return "bit " + std::to_string(bit) + " may be flipped";
    bytes.data()[bit / 8] ^= static_cast<uchar>(1 << (bit % 8));
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (TableDef::decode(slice(copy_of(bytes.slice(), size)), &back, &why)) return std::to_string(size) + " bytes will do";
  }
  return wrong;
}

// Entries of the catalog

std::string check_catalog() {
  using namespace catalog;
  Entry entry;
  entry.name = {Kind::kView, "s", "v"};
  entry.flags = Entry::kNotReplayed;
  entry.server_version = 90704;
  entry.fields = {"CREATE VIEW", "latin1", ""};
  ByteBuffer key, bytes, again;
  if (!append_key(entry.name, &key) || !encode(entry, &bytes)) return "not encoded";
  std::string wrong = expect("the key", key.slice(), "000000004b07730076");
  if (wrong.empty()) {
    wrong = expect("the entry", bytes.slice(),
                   "53454345000107010001625000000000000000000003"
                   "0000000b4352454154452056494557"
                   "000000066c6174696e31"
                   "00000000"
                   "19d109a0");
  }
  if (!wrong.empty()) return wrong;
  Entry back;
  std::string why;
  if (!decode(key.slice(), bytes.slice(), &back, &why)) return "not decoded: " + why;
  if (!same_definition(entry, back) || !encode(back, &again) || again.slice() != bytes.slice()) return "another entry came back";
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes.data()[bit / 8] ^= static_cast<uchar>(1 << (bit % 8));
    if (decode(key.slice(), bytes.slice(), &back, &why)) return "bit " + std::to_string(bit) + " may be flipped";
    bytes.data()[bit / 8] ^= static_cast<uchar>(1 << (bit % 8));
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (decode(key.slice(), slice(copy_of(bytes.slice(), size)), &back, &why)) return std::to_string(size) + " bytes will do";
  }
  for (size_t size = 0; size < key.size() - 1; ++size) {
    if (decode(slice(copy_of(key.slice(), size)), bytes.slice(), &back, &why)) return std::to_string(size) + " bytes of the key will do";
  }
  return {};
}

// Rows and index entries

/// Gives `decode` every cut and every single flipped bit of the bytes; `why` says what must not come of it.
std::string damage(Slice bytes, SampleTable *table, const std::function<int(Slice)> &decode, bool cuts_show) {
  for (size_t size = 0; size < bytes.size; ++size) {
    if (decode(slice(copy_of(bytes, size))) == 0 && cuts_show) return std::to_string(size) + " bytes will do";
  }
  for (size_t bit = 0; bit < 8 * bytes.size; ++bit) {
    std::vector<uchar> copy = copy_of(bytes, bytes.size);
    copy[bit / 8] ^= static_cast<uchar>(1 << (bit % 8));
    decode(slice(copy));
    if (!table->intact()) return "bit " + std::to_string(bit) + " flipped writes past the record";
  }
  return {};
}

std::string check_rows() {
  FiveColumns table;
  std::string why;
  const std::unique_ptr<TableCodec> codec = table.codec(&why);
  if (codec == nullptr) return "no codec: " + why;
  ByteBuffer row;
  table.fill(5, 1.5, "caf\xE9 ", "\xC3\xA4", "blob", 0);
  if (codec->row().encode(table.record(), &row) != 0) return "not encoded";
  std::string wrong = expect("the row", row.slice(),
                             "010001"
                             "00"
                             "05000000000000000000f83f"
                             "05636166e920"
                             "02c3a4"
                             "04626c6f62");
  if (!wrong.empty()) return wrong;
  wrong = damage(
      row.slice(), &table, [&](Slice bytes) { return codec->row().decode(bytes, nullptr, table.record()); }, true);
  if (!wrong.empty()) return wrong;
  ByteBuffer again;
  table.fill(0, 0, "", "", "", 7);
  if (codec->row().decode(row.slice(), nullptr, table.record()) != 0) return "not decoded";
  if (codec->row().encode(table.record(), &again) != 0 || again.slice() != row.slice()) return "another row came back";
  table.fill(7, 2.5, "x", "y", "z", 7);
  if (codec->row().encode(table.record(), &row) != 0) return "NULLs are not encoded";
  return expect("the row of NULLs", row.slice(),
                "010001"
                "07"
                "070000000000000000000000"
                "0179");
}

std::string check_entries() {
  FiveColumns table;
  std::string why;
  const std::unique_ptr<TableCodec> codec = table.codec(&why);
  if (codec == nullptr) return "no codec: " + why;
  table.fill(0xFFFFFFFE, -0.0, "b \t ", "a", "", 0);
  ByteBuffer row_key;
  ByteBuffer key;
  ByteBuffer value;
  bool unique = false;
  if (codec->row_index().encode_row_key(table.record(), 0, &row_key) != 0) return "row key is not encoded";
  std::string wrong = expect("the row key", row_key.slice(),
                             "0000000a"
                             "5800");
  if (!wrong.empty()) return wrong;
  const Slice row = row_key.slice_from(kIndexIdSize);

  const IndexCodec &by_name = codec->index(1);
  if (by_name.encode_entry(table.record(), row, &key, &value, &unique) != 0 || !unique) return "no unique entry";
  wrong = expect("the unique key", key.slice(),
                 "0000000b"
                 "0142200109208"
                 "0"
                 "fe7fffffffffffffff");
  if (wrong.empty())
    wrong = expect("the unique value", value.slice(),
                   "020002"
                   "5800"
                   "0462200920"
                   "01"
                   "0161");
  if (!wrong.empty()) return wrong;
  const auto read_key = [&](Slice bytes) { return by_name.decode_entry(bytes, value.slice(), nullptr, table.record()); };
  const auto read_value = [&](Slice bytes) { return by_name.decode_entry(key.slice(), bytes, nullptr, table.record()); };
  wrong = damage(key.slice(), &table, read_key, true);
  if (wrong.empty()) wrong = damage(value.slice(), &table, read_value, true);
  if (!wrong.empty()) return wrong;
  table.fill(0, 1, "", "", "", 7);
  if (read_key(key.slice()) != 0) return "the unique entry is not decoded";
  if (table.f() != 0 || !std::signbit(table.f()) || memcmp(table.v(), "\4b \t ", 5) != 0 ||
      memcmp(table.c(), "a               ", 16) != 0 || (table.record()[0] & 3) != 0) {
    return "another unique entry came back";
  }

  table.fill(0xFFFFFFFE, 1, "", "a", "", 2);
  if (by_name.encode_entry(table.record(), row, &key, &value, &unique) != 0 || unique) return "a NULL is unique";
  wrong = expect("the key with NULL", key.slice(),
                 "0000000b"
                 "00"
                 "fe400fffffffffffff"
                 "5800");
  if (!wrong.empty()) return wrong;
  if (codec->index(2).encode_entry(table.record(), row, &key, &value, &unique) != 0 || unique) return "no entry";
  wrong = expect("the key", key.slice(),
                 "0000000c"
                 "7ffffffe"
                 "5800");
  return wrong.empty() ? expect("the value", value.slice(),
                                "010008"
                                "0161")
                       : wrong;
}

std::string check_servers() {
  struct Case {
    const char *built_for;
    bool built_with_debug;
    const char *running;
    bool is_refused;
  };
  const Case cases[] = {
      {"9.7.4", false, "9.7.4", false},  {"9.7.4-2", false, "9.7.4-3", false},    {"8.0.35", false, "8.0.35-0ubuntu0.22.04.1", false},
      {"8.0.35", false, "8.0.36", true}, {"9.7.4", false, "9.7.40", true},        {"9.7.4", false, "9.7.4-debug", true},
      {"9.7.4", true, "9.7.4", true},    {"9.7.4", true, "9.7.4-2-debug", false},
  };
  for (const Case &c : cases) {
    const std::string refusal = server_mismatch(c.built_for, c.built_with_debug, c.running);
    if (refusal.empty() == c.is_refused) return std::string(c.built_for) + " in " + c.running + ": " + refusal;
  }
  const std::string refusal = server_mismatch("8.0.35", false, "8.0.36-debug");
  const char *const expected =
      "the plugin was built for MySQL 8.0.35 without debug assertions, and this server is MySQL 8.0.36 with debug assertions: build it for "
      "this server";
  return refusal == expected ? std::string() : refusal;
}

std::string check(const std::string &what) {
  if (what == "collations") return check_collations();
  if (what == "definitions") return check_definitions();
  if (what == "catalog") return check_catalog();
  if (what == "rows") return check_rows();
  if (what == "entries") return check_entries();
  if (what == "servers") return check_servers();
  return "there is no such check";
}

}  // namespace

}  // namespace smartengine

extern "C" {

bool codec_check_init(UDF_INIT *, UDF_ARGS *arguments, char *message) {
  if (arguments->arg_count == 1 && arguments->arg_type[0] == STRING_RESULT) return false;
  strcpy(message, "codec_check wants the name of a check");
  return true;
}

char *codec_check(UDF_INIT *, UDF_ARGS *arguments, char *result, unsigned long *length, unsigned char *, unsigned char *) {
  std::string text = smartengine::check(std::string(arguments->args[0], arguments->lengths[0]));
  if (text.empty()) text = "ok";
  // The server gives room for 255 bytes.
  *length = static_cast<unsigned long>(std::min<size_t>(text.size(), 255));
  memcpy(result, text.data(), *length);
  return result;
}
}
