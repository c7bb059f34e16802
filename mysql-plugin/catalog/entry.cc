#include "catalog/entry.h"

#include <tuple>

#include "base/checksum.h"
#include "codec/table_def.h"

namespace smartengine::catalog {

namespace {

constexpr uint32_t kMagic = 0x53454345;  // "SECE"
constexpr uint16_t kFormatVersion = 1;
constexpr unsigned char kEntryTag = 'K';
constexpr unsigned char kGenerationTag = 'N';
constexpr size_t kKeyHeaderSize = 6;     // u32 index id, u8 tag, u8 kind
constexpr size_t kValueHeaderSize = 22;  // up to the number of fields, with it
constexpr size_t kChecksumSize = 4;

bool is_known(uint8_t kind) { return kind >= static_cast<uint8_t>(Kind::kMeta) && kind <= static_cast<uint8_t>(Kind::kAccount); }

Slice slice(const std::string &text) { return {reinterpret_cast<const unsigned char *>(text.data()), text.size()}; }

bool append_header(unsigned char tag, unsigned char kind, ByteBuffer *out) {
  unsigned char header[kKeyHeaderSize];
  store_be32(header, kDictionaryIndex);
  header[4] = tag;
  header[5] = kind;
  return out->append(Slice{header, sizeof(header)});
}

bool append_u32(uint32_t value, ByteBuffer *out) {
  unsigned char bytes[4];
  store_be32(bytes, value);
  return out->append(Slice{bytes, sizeof(bytes)});
}

bool decode_key(Slice key, Name *name, std::string *why) {
  if (key.size < kKeyHeaderSize + 1 || load_be32(key.data) != kDictionaryIndex || key.data[4] != kEntryTag) {
    *why = "no key of the catalog";
    return false;
  }
  if (!is_known(key.data[5])) {
    *why = "unknown kind " + std::to_string(key.data[5]);
    return false;
  }
  const std::string names(reinterpret_cast<const char *>(key.data) + kKeyHeaderSize, key.size - kKeyHeaderSize);
  const size_t end = names.find('\0');
  if (end == std::string::npos || names.find('\0', end + 1) != std::string::npos) {
    *why = "a key with other than two names";
    return false;
  }
  *name = {static_cast<Kind>(key.data[5]), names.substr(0, end), names.substr(end + 1)};
  return true;
}

}  // namespace

const char *kind_name(Kind kind) {
  switch (kind) {
    case Kind::kSchema:
      return "schema";
    case Kind::kTable:
      return "table";
    case Kind::kLibrary:
      return "library";
    case Kind::kFunction:
      return "function";
    case Kind::kProcedure:
      return "procedure";
    case Kind::kView:
      return "view";
    case Kind::kTrigger:
      return "trigger";
    case Kind::kEvent:
      return "event";
    case Kind::kAccount:
      return "account";
    case Kind::kMeta:
      break;
  }
  return "catalog";
}

bool operator<(const Name &a, const Name &b) { return std::tie(a.kind, a.schema, a.name) < std::tie(b.kind, b.schema, b.name); }
bool operator==(const Name &a, const Name &b) { return std::tie(a.kind, a.schema, a.name) == std::tie(b.kind, b.schema, b.name); }

std::string describe(const Name &name) {
  const std::string kind(kind_name(name.kind));
  switch (name.kind) {
    case Kind::kMeta:
      return kind;
    case Kind::kSchema:
      return kind + ' ' + name.schema;
    case Kind::kAccount:
      return kind + ' ' + name.name + '@' + name.schema;
    default:
      return kind + ' ' + name.schema + '.' + name.name;
  }
}

const std::string &Entry::field(size_t place) const {
  static const std::string nothing;
  return place < fields.size() ? fields[place] : nothing;
}

bool same_definition(const Entry &a, const Entry &b) { return a.name == b.name && a.table_id == b.table_id && a.fields == b.fields; }

bool append_key(const Name &name, ByteBuffer *out) {
  if (name.schema.find('\0') != std::string::npos || name.name.find('\0') != std::string::npos) return false;
  return append_header(kEntryTag, static_cast<unsigned char>(name.kind), out) && out->append(slice(name.schema)) && out->append_byte(0) &&
         out->append(slice(name.name));
}

bool kind_range(Kind kind, const std::string &schema, ByteBuffer *lower, ByteBuffer *upper) {
  lower->clear();
  upper->clear();
  const auto byte = static_cast<unsigned char>(kind);
  if (schema.empty()) {
    return append_header(kEntryTag, byte, lower) && append_header(kEntryTag, static_cast<unsigned char>(byte + 1), upper);
  }
  return append_header(kEntryTag, byte, lower) && lower->append(slice(schema)) && lower->append_byte(0) &&
         append_header(kEntryTag, byte, upper) && upper->append(slice(schema)) && upper->append_byte(1);
}

bool append_generation_key(ByteBuffer *out) { return append_header(kGenerationTag, 0, out); }

bool encode(const Entry &entry, ByteBuffer *out) {
  const size_t start = out->size();
  unsigned char header[kValueHeaderSize];
  store_be32(header, kMagic);
  store_be16(header + 4, kFormatVersion);
  header[6] = static_cast<unsigned char>(entry.name.kind);
  header[7] = entry.flags;
  store_be32(header + 8, entry.server_version);
  store_be64(header + 12, entry.table_id);
  store_be16(header + 20, static_cast<uint16_t>(entry.fields.size()));
  bool ok = entry.fields.size() <= UINT16_MAX && out->append(Slice{header, sizeof(header)});
  for (const std::string &field : entry.fields) {
    ok = ok && field.size() <= UINT32_MAX && append_u32(static_cast<uint32_t>(field.size()), out) && out->append(slice(field));
  }
  ok = ok && append_u32(crc32c(out->slice_from(start)), out);
  if (!ok) out->truncate(start);
  return ok;
}

bool decode(Slice key, Slice value, Entry *entry, std::string *why) {
  *entry = Entry();
  if (!decode_key(key, &entry->name, why)) return false;
  if (value.size < kValueHeaderSize + kChecksumSize) {
    *why = "only " + std::to_string(value.size) + " bytes";
    return false;
  }
  const Slice content{value.data, value.size - kChecksumSize};
  if (crc32c(content) != load_be32(value.data + content.size)) {
    *why = "checksum mismatch";
    return false;
  }
  if (load_be32(content.data) != kMagic) {
    *why = "no entry of the catalog";
    return false;
  }
  if (const uint16_t version = load_be16(content.data + 4); version == 0 || version > kFormatVersion) {
    *why = "format version " + std::to_string(version) + ", this plugin reads up to " + std::to_string(kFormatVersion);
    return false;
  }
  if (content.data[6] != static_cast<unsigned char>(entry->name.kind)) {
    *why = "the kinds in key and value differ";
    return false;
  }
  entry->flags = content.data[7];
  entry->server_version = load_be32(content.data + 8);
  entry->table_id = load_be64(content.data + 12);
  const uint16_t fields = load_be16(content.data + 20);
  ByteReader reader(Slice{content.data + kValueHeaderSize, content.size - kValueHeaderSize});
  for (uint16_t i = 0; i < fields; ++i) {
    const unsigned char *size = reader.take(4);
    const size_t wanted = size == nullptr ? 0 : load_be32(size);
    const unsigned char *bytes = size == nullptr ? nullptr : reader.take(wanted);
    if (bytes == nullptr) {
      *why = "cut short";
      return false;
    }
    entry->fields.emplace_back(reinterpret_cast<const char *>(bytes), wanted);
  }
  if (reader.left() != 0) {
    *why = "bytes after the end";
    return false;
  }
  return true;
}

}  // namespace smartengine::catalog
