// The decoders of the plugin's formats, fed with bytes that went wrong.
//
//   mysqld list                             the names of the decoders
//   mysqld fuzz DECODER SECONDS SEED FOUND  changes samples again and again from a seed; first whatever files are in the folder FOUND
//   mysqld replay DECODER FILE              gives it the bytes of a file
//   mysqld overrun                          steps past the end of a sample: a checker of memory that says nothing is blind
//
// The encodings of sample rows, entries and definitions are cut, spliced, repeated, overwritten, and given other lengths. An input that reaches code that
// none before it did is kept, to be changed further: the compiler reports each block as it is entered (-fsanitize-coverage=trace-pc). What a
// decoder takes must come back the same once it is encoded; what it does not take it says so about. The input that is being tried stands in the
// file `input`, whatever becomes of the process.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "../sample_tables.h"
#include "base/checksum.h"
#include "catalog/entry.h"
#include "start.h"

namespace {

/// Which blocks of the program were entered, by their address.
std::array<unsigned char, 1 << 16> entered;
bool watching = false;
bool reached_new = false;

}  // namespace

/// Called by every block that is compiled with the option.
extern "C" __attribute__((no_sanitize_coverage, no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc() {
  if (!watching) return;
  const auto place = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  unsigned char *block = entered.data() + (place ^ (place >> 16)) % (1 << 16);
  if (*block == 0) reached_new = true;
  *block = 1;
}

namespace smartengine {

namespace {

using Bytes = std::vector<uchar>;

constexpr size_t kLongest = 4096;
constexpr size_t kMostKept = 4000;

Slice slice(const Bytes &bytes) { return {bytes.data(), bytes.size()}; }
Bytes copy_of(Slice bytes) { return {bytes.data, bytes.data + bytes.size}; }

[[noreturn]] void give_up(const std::string &why) {
  fprintf(stderr, "%s\n", why.c_str());
  exit(EXIT_FAILURE);
}

std::unique_ptr<TableCodec> codec_of(const SampleTable &table) {
  std::string why;
  std::unique_ptr<TableCodec> codec = table.codec(&why);
  if (codec == nullptr) give_up("no codec: " + why);
  return codec;
}

// Decoders

class Decoder {
 public:
  explicit Decoder(const char *name) : m_name(name) {}
  virtual ~Decoder() = default;
  const char *name() const { return m_name; }
  /// Whether the last four bytes are a checksum of the others, without which nothing behind it is reached.
  virtual bool has_checksum() const { return false; }
  /// Encodings to begin with.
  virtual std::vector<Bytes> samples() = 0;
  /// Gives the bytes to the decoder. What was wrong, or nothing: refusing them is right, too.
  virtual std::string decode(Slice bytes) = 0;

 private:
  const char *m_name;
};

/// The table that a decoder of rows or entries writes to, and values to fill it with.
template <class Table>
class TableDecoder : public Decoder {
 public:
  explicit TableDecoder(const char *name) : Decoder(name), m_codec(codec_of(m_table)) { fill(); }

 protected:
  void fill() {
    if constexpr (std::is_same_v<Table, FiveColumns>) {
      m_table.fill(0xFFFFFFFE, -0.0, "b \t ", "a", "blob", 0);
    } else {
      m_table.fill();
    }
  }
  Table &table() { return m_table; }
  const TableCodec &codec() const { return *m_codec; }

 private:
  Table m_table;
  std::unique_ptr<TableCodec> m_codec;
};

template <class Table>
class RowDecoder : public TableDecoder<Table> {
 public:
  using TableDecoder<Table>::TableDecoder;

  std::vector<Bytes> samples() override {
    std::vector<Bytes> all;
    for (const uchar nulls : {0, 1, 2, 15}) {
      this->fill();
      *this->table().record() = nulls;
      ByteBuffer row;
      if (this->codec().row().encode(this->table().record(), &row) != 0) give_up("a row is not encoded");
      all.push_back(copy_of(row.slice()));
    }
    return all;
  }

  std::string decode(Slice bytes) override {
    const RowCodec &codec = this->codec().row();
    uchar *record = this->table().record();
    this->fill();
    if (codec.decode(bytes, nullptr, record) != 0) return {};
    // What the server now reads of the record, in the way that it does.
    ByteBuffer once, twice;
    if (codec.encode(record, &once) != 0) return "a row that was decoded is not encoded";
    if (codec.decode(once.slice(), nullptr, record) != 0) return "what was encoded again is not decoded";
    if (codec.encode(record, &twice) != 0 || once.slice() != twice.slice()) return "another row came back";
    return this->table().intact() ? "" : "it wrote past the record";
  }
};

/// Entries of an index: `of_key` changes keys, else values. Both stand in one input, the size of the key before them.
template <class Table>
class EntryDecoder : public TableDecoder<Table> {
 public:
  EntryDecoder(const char *name, uint index) : TableDecoder<Table>(name), m_index(index) {}

  std::vector<Bytes> samples() override {
    std::vector<Bytes> all;
    const TableCodec &codec = this->codec();
    for (const uchar nulls : {0, 1, 2}) {
      this->fill();
      *this->table().record() = nulls;
      ByteBuffer row_key, key, value;
      bool unique = false;
      if (codec.row_index().encode_row_key(this->table().record(), 0, &row_key) != 0 ||
          codec.index(m_index).encode_entry(this->table().record(), row_key.slice_from(kIndexIdSize), &key, &value, &unique) != 0) {
        give_up("an entry is not encoded");
      }
      Bytes input(2);
      store_be16(input.data(), static_cast<uint16_t>(key.size()));
      input.insert(input.end(), key.data(), key.data() + key.size());
      input.insert(input.end(), value.data(), value.data() + value.size());
      all.push_back(std::move(input));
    }
    return all;
  }

  std::string decode(Slice bytes) override {
    if (bytes.size < 2) return {};
    const size_t key_size = std::min<size_t>(load_be16(bytes.data), bytes.size - 2);
    // Each in memory of its own, so that a step past its end is seen.
    const Bytes key(bytes.data + 2, bytes.data + 2 + key_size);
    const Bytes value(bytes.data + 2 + key_size, bytes.data + bytes.size);
    const IndexCodec &index = this->codec().index(m_index);
    Slice row_key;
    if (IndexCodec::row_key_of_entry(slice(key), slice(value), &row_key)) {
      // Every byte of it is read.
      const volatile size_t zeros = static_cast<size_t>(std::count(row_key.data, row_key.data + row_key.size, 0));
      static_cast<void>(zeros);
    }
    this->fill();
    if (index.decode_entry(slice(key), slice(value), nullptr, this->table().record()) != 0) return {};
    ByteBuffer again, restored;
    bool unique = false;
    // The lengths of its strings are those of the columns, or this reads past the record.
    if (index.encode_entry(this->table().record(), row_key, &again, &restored, &unique) != 0)
      return "an entry that was decoded is not encoded";
    return this->table().intact() ? "" : "it wrote past the record";
  }

 private:
  uint m_index;
};

/// Strings of an index: where they end, and what they are where that can be told.
class StringDecoder : public Decoder {
 public:
  StringDecoder(const char *name, const char *collation, uchar mask)
      : Decoder(name), m_codec(get_charset_by_name(collation, MYF(0))), m_mask(mask) {}

  std::vector<Bytes> samples() override {
    std::vector<Bytes> all;
    for (const std::string text : {"", "a  b\tc \xC3\xA9 ", "  ", "\xE4\xB8\xAD-x", "Katarzyna"}) {
      ByteBuffer key;
      if (!m_codec.encode({reinterpret_cast<const uchar *>(text.data()), text.size()}, &key)) give_up("a string is not encoded");
      Bytes bytes = copy_of(key.slice());
      for (uchar &byte : bytes) byte ^= m_mask;
      all.push_back(std::move(bytes));
    }
    return all;
  }

  std::string decode(Slice bytes) override {
    ByteReader skipped(bytes);
    const bool ends = m_codec.skip(&skipped, m_mask);
    if (!m_codec.is_reversible()) return {};
    Bytes back(24);
    ByteReader read(bytes);
    size_t size = 0;
    if (!m_codec.decode(&read, m_mask, back.data(), back.size(), &size)) return {};
    if (size > back.size()) return "it says it wrote past the end";
    return ends && read.left() == skipped.left() ? "" : "a string is passed over otherwise than it is read";
  }

 private:
  CollationCodec m_codec;
  uchar m_mask;
};

class DefinitionDecoder : public Decoder {
 public:
  using Decoder::Decoder;
  bool has_checksum() const override { return true; }

  std::vector<Bytes> samples() override {
    TableDef def;
    def.table_id = 0x1122;
    def.columns = {{"id", MYSQL_TYPE_LONG, ColumnDef::kUnsigned, 63, 10, 0},
                   {"name", MYSQL_TYPE_VARCHAR, ColumnDef::kNullable, 255, 80, 31}};
    def.indexes = {{"PRIMARY", 7, IndexKind::kPrimary, IndexDef::kVisible, {{0, 4, 0}}},
                   {"n", 8, IndexKind::kUnique, 0, {{1, 40, KeyPartDef::kDescending}}}};
    def.comment = "d/t";
    ByteBuffer bytes, hidden;
    if (!def.encode(&bytes)) give_up("a definition is not encoded");
    def.indexes[0] = {"", 9, IndexKind::kHiddenPrimary, 0, {}};
    if (!def.encode(&hidden)) give_up("a definition is not encoded");
    return {copy_of(bytes.slice()), copy_of(hidden.slice())};
  }

  std::string decode(Slice bytes) override {
    TableDef def, back;
    std::string why;
    ByteBuffer once, twice;
    if (!TableDef::decode(bytes, &def, &why)) return why.empty() ? "refused without a cause" : "";
    if (!def.encode(&once) || !TableDef::decode(once.slice(), &back, &why)) return "a definition does not come back: " + why;
    return back.encode(&twice) && once.slice() == twice.slice() ? "" : "another definition came back";
  }
};

class CatalogDecoder : public Decoder {
 public:
  using Decoder::Decoder;
  bool has_checksum() const override { return true; }

  std::vector<Bytes> samples() override {
    ByteBuffer bytes, more;
    catalog::Entry entry;
    entry.name = {catalog::Kind::kView, "s", "v"};
    entry.server_version = 90704;
    entry.fields = {"CREATE VIEW", "latin1", ""};
    if (!catalog::encode(entry, &bytes)) give_up("an entry is not encoded");
    entry.flags = catalog::Entry::kNotReplayed;
    entry.table_id = 7;
    entry.fields.resize(9, "GRANT SELECT");
    if (!catalog::encode(entry, &more)) give_up("an entry is not encoded");
    return {copy_of(bytes.slice()), copy_of(more.slice())};
  }

  std::string decode(Slice bytes) override {
    ByteBuffer key, once, twice;
    catalog::Entry entry, back;
    std::string why;
    if (!catalog::append_key({catalog::Kind::kView, "s", "v"}, &key)) return "no memory";
    if (!catalog::decode(key.slice(), bytes, &entry, &why)) return why.empty() ? "refused without a cause" : "";
    if (!catalog::encode(entry, &once) || !catalog::decode(key.slice(), once.slice(), &back, &why)) {
      return "an entry does not come back: " + why;
    }
    return catalog::same_definition(entry, back) && catalog::encode(back, &twice) && once.slice() == twice.slice()
               ? ""
               : "another entry came back";
  }
};

/// Keys of the catalog, beside a value that fits most of them.
class CatalogKeyDecoder : public Decoder {
 public:
  using Decoder::Decoder;

  std::vector<Bytes> samples() override {
    ByteBuffer view, account;
    if (!catalog::append_key({catalog::Kind::kView, "s", "v"}, &view) ||
        !catalog::append_key({catalog::Kind::kAccount, "%", "u"}, &account)) {
      give_up("a key is not encoded");
    }
    return {copy_of(view.slice()), copy_of(account.slice())};
  }

  std::string decode(Slice bytes) override {
    // The value names the kind too.
    catalog::Entry entry, back;
    entry.name.kind = bytes.size > 5 ? static_cast<catalog::Kind>(bytes.data[5]) : catalog::Kind::kView;
    entry.fields = {"a", "b"};
    ByteBuffer value, again;
    std::string why;
    if (!catalog::encode(entry, &value)) return {};
    if (!catalog::decode(bytes, value.slice(), &back, &why)) return why.empty() ? "refused without a cause" : "";
    return catalog::append_key(back.name, &again) && again.slice() == bytes ? "" : "another key came back";
  }
};

std::vector<std::unique_ptr<Decoder>> decoders() {
  std::vector<std::unique_ptr<Decoder>> all;
  all.push_back(std::make_unique<RowDecoder<FiveColumns>>("row"));
  all.push_back(std::make_unique<RowDecoder<TwelveColumns>>("wide_row"));
  all.push_back(std::make_unique<RowDecoder<BinaryStrings>>("strings_row"));
  all.push_back(std::make_unique<EntryDecoder<FiveColumns>>("unique_entry", 1));
  all.push_back(std::make_unique<EntryDecoder<FiveColumns>>("entry", 2));
  all.push_back(std::make_unique<EntryDecoder<TwelveColumns>>("wide_entry", 1));
  all.push_back(std::make_unique<EntryDecoder<TwelveColumns>>("wide_unique_entry", 2));
  all.push_back(std::make_unique<EntryDecoder<BinaryStrings>>("strings_entry", 1));
  all.push_back(std::make_unique<EntryDecoder<BinaryStrings>>("strings_unique_entry", 2));
  all.push_back(std::make_unique<StringDecoder>("no_pad_weights", "utf8mb4_0900_as_cs", 0));
  all.push_back(std::make_unique<StringDecoder>("no_pad_bytes", "utf8mb4_0900_bin", 0xFF));
  all.push_back(std::make_unique<StringDecoder>("pad_weights", "utf8mb4_general_ci", 0xFF));
  all.push_back(std::make_unique<StringDecoder>("pad_bytes", "utf8mb4_bin", 0));
  all.push_back(std::make_unique<DefinitionDecoder>("definition"));
  all.push_back(std::make_unique<CatalogDecoder>("catalog_entry"));
  all.push_back(std::make_unique<CatalogKeyDecoder>("catalog_key"));
  return all;
}

// Changes

class Changer {
 public:
  explicit Changer(uint64_t seed) : m_random(seed) {}

  size_t pick(size_t count) { return static_cast<size_t>(m_random() % count); }

  /// Changes the bytes in one to five ways; `other` lends a piece.
  void change(Bytes *bytes, const Bytes &other) {
    for (size_t times = 1 + pick(5); times != 0; --times) change_once(bytes, other);
    if (bytes->size() > kLongest) bytes->resize(kLongest);
  }

 private:
  void change_once(Bytes *bytes, const Bytes &other) {
    static constexpr uchar kEdges[] = {0, 1, 2, 0x0F, 0x7D, 0x7E, 0x7F, 0x80, 0x81, 0x82, 0xFE, 0xFF};
    const size_t size = bytes->size();
    if (size == 0) {
      *bytes = other;
      return;
    }
    const size_t at = pick(size);
    const size_t count = std::min(1 + pick(pick(4) == 0 ? 64 : 8), size - at);
    const auto from = bytes->begin() + static_cast<ptrdiff_t>(at);
    switch (pick(9)) {
      case 0:
        (*bytes)[at] ^= static_cast<uchar>(1 << pick(8));
        break;
      case 1:
        (*bytes)[at] = kEdges[pick(std::size(kEdges))];
        break;
      case 2:
        std::generate_n(from, count, [this] { return static_cast<uchar>(m_random()); });
        break;
      case 3:
        bytes->erase(from, from + static_cast<ptrdiff_t>(count));
        break;
      case 4: {
        const Bytes piece(from, from + static_cast<ptrdiff_t>(count));
        const auto to = bytes->begin() + static_cast<ptrdiff_t>(pick(size + 1));
        bytes->insert(to, piece.begin(), piece.end());
        break;
      }
      case 5: {
        const Bytes piece(1 + pick(32), kEdges[pick(std::size(kEdges))]);
        bytes->insert(from, piece.begin(), piece.end());
        break;
      }
      case 6: {
        // The front of one, the end of another.
        const size_t other_at = other.empty() ? 0 : pick(other.size());
        bytes->resize(at);
        bytes->insert(bytes->end(), other.begin() + static_cast<ptrdiff_t>(other_at), other.end());
        break;
      }
      case 7:
        change_length(bytes, at);
        break;
      default:
        bytes->resize(at);
    }
  }

  /// Puts a number where one may stand: big endian of two, four or eight bytes, or a varint.
  void change_length(Bytes *bytes, size_t at) {
    static constexpr uint64_t kLengths[] = {0, 1, 2, 20, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, UINT64_MAX};
    const uint64_t length = pick(3) == 0 ? pick(2 * bytes->size()) : kLengths[pick(std::size(kLengths))];
    uchar text[8];
    size_t size = size_t{2} << pick(4);
    if (size == 16) {
      size = static_cast<size_t>(store_varint(text, static_cast<uint32_t>(length)) - text);
    } else {
      for (size_t i = 0; i < size; ++i) text[i] = static_cast<uchar>(length >> (8 * (size - 1 - i)));
    }
    for (size_t i = 0; i < size && at + i < bytes->size(); ++i) (*bytes)[at + i] = text[i];
  }

  std::mt19937_64 m_random;
};

/// A file that has what is being tried even if the process dies at once.
class Witness {
 public:
  Witness() {
    const int file = open("input", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || ftruncate(file, kSize) != 0) give_up("the file `input` cannot be written");
    void *place = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place == MAP_FAILED) give_up("the file `input` cannot be mapped");
    m_place = static_cast<uchar *>(place);
  }

  void keep(Slice bytes) {
    store_be32(m_place, static_cast<uint32_t>(bytes.size));
    if (bytes.size != 0) memcpy(m_place + 4, bytes.data, bytes.size);
  }

 private:
  static constexpr size_t kSize = 4 + kLongest + 1024;
  uchar *m_place;
};

void correct_checksum(Bytes *bytes) {
  if (bytes->size() < 4) return;
  const size_t size = bytes->size() - 4;
  store_be32(bytes->data() + size, crc32c({bytes->data(), size}));
}

// The program

/// Tries one input. Whether it was answered in a new way; `wrong` says what must not be.
bool try_one(Decoder *decoder, const Bytes &input, std::string *wrong) {
  reached_new = false;
  watching = true;
  *wrong = decoder->decode(slice(input));
  watching = false;
  return reached_new;
}

std::vector<Bytes> found_before(const std::string &folder) {
  std::vector<Bytes> all;
  std::error_code absent;
  for (const auto &entry : std::filesystem::directory_iterator(folder, absent)) {
    std::ifstream file(entry.path(), std::ios::binary);
    all.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::sort(all.begin(), all.end());
  return all;
}

int fuzz(Decoder *decoder, int seconds, uint64_t seed, const std::string &found) {
  Witness witness;
  Changer changer(seed);
  std::string wrong;
  std::vector<Bytes> kept = decoder->samples();
  for (Bytes &input : found_before(found)) kept.push_back(std::move(input));
  for (const Bytes &input : kept) {
    witness.keep(slice(input));
    try_one(decoder, input, &wrong);
    if (!wrong.empty()) give_up(wrong);
  }
  const size_t samples = kept.size();
  size_t tried = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    Bytes input = kept[changer.pick(kept.size())];
    changer.change(&input, kept[changer.pick(kept.size())]);
    if (decoder->has_checksum() && changer.pick(16) != 0) correct_checksum(&input);
    // No room behind its end.
    input.shrink_to_fit();
    witness.keep(slice(input));
    ++tried;
    if (try_one(decoder, input, &wrong) && kept.size() < kMostKept) kept.push_back(input);
    if (!wrong.empty()) give_up(wrong);
  }
  printf("%s: %zu inputs, %zu of them reached something new\n", decoder->name(), tried, kept.size() - samples);
  return EXIT_SUCCESS;
}

int replay(Decoder *decoder, const char *path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) give_up(std::string("there is no ") + path);
  Bytes input{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  input.shrink_to_fit();
  const std::string wrong = decoder->decode(slice(input));
  printf("%s\n", wrong.empty() ? "ok" : wrong.c_str());
  return wrong.empty() ? EXIT_SUCCESS : EXIT_FAILURE;
}

/// Reads the byte after a sample.
int overrun() {
  const Bytes sample = decoders().front()->samples().front();
  const Bytes copy(sample.begin(), sample.end());
  const volatile uchar *after = copy.data() + copy.size();
  printf("the byte after the end is %d\n", *after);
  return EXIT_SUCCESS;
}

}  // namespace

int run(int argc, char **argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "overrun") return overrun();
  for (const std::unique_ptr<Decoder> &decoder : decoders()) {
    if (command == "list") puts(decoder->name());
    if (argc < 4 || std::string_view(argv[2]) != decoder->name()) continue;
    if (command == "replay") return replay(decoder.get(), argv[3]);
    if (command == "fuzz" && argc == 6) return fuzz(decoder.get(), atoi(argv[3]), strtoull(argv[4], nullptr, 10), argv[5]);
  }
  if (command == "list") return EXIT_SUCCESS;
  give_up("arguments: list | fuzz DECODER SECONDS SEED FOUND | replay DECODER FILE | overrun");
}

}  // namespace smartengine
