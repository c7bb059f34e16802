// Borrowed bytes and the growable buffer that the codecs write into.
//
// A ByteBuffer is made once per handler and reused for every row: clear() keeps the memory. It never throws; growth
// that fails is reported by reserve(), and the codecs turn that into HA_ERR_OUT_OF_MEM.

#ifndef SMARTENGINE_BYTE_BUFFER_H
#define SMARTENGINE_BYTE_BUFFER_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace smartengine {

/// Bytes that someone else owns.
struct Slice {
  const unsigned char *data = nullptr;
  size_t size = 0;
};

inline bool operator==(Slice a, Slice b) { return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0); }
inline bool operator!=(Slice a, Slice b) { return !(a == b); }

/// Orders bytes as the engine orders keys.
inline int compare(Slice a, Slice b) {
  const size_t common = std::min(a.size, b.size);
  const int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
  if (order != 0) return order;
  return a.size < b.size ? -1 : (a.size > b.size ? 1 : 0);
}

/// A growable run of bytes.
class ByteBuffer {
 public:
  const unsigned char *data() const { return m_data.get(); }
  unsigned char *data() { return m_data.get(); }
  size_t size() const { return m_size; }
  bool empty() const { return m_size == 0; }
  Slice slice() const { return Slice{m_data.get(), m_size}; }
  /// The bytes from `offset` to the end.
  Slice slice_from(size_t offset) const { return Slice{m_data.get() + offset, m_size - offset}; }

  void clear() { m_size = 0; }

  /// Shortens to `size`, which is at most size().
  void truncate(size_t size) { m_size = size; }

  /// Makes room for `extra` bytes after the end; false if memory is short (the contents stay).
  [[nodiscard]] bool reserve(size_t extra) { return m_capacity - m_size >= extra || grow(extra); }

  /// The place after the last byte; reserve() before writing there and advance() after.
  unsigned char *end() { return m_data.get() + m_size; }
  void advance(size_t size) { m_size += size; }

  /// Appends a copy; false if memory is short.
  [[nodiscard]] bool append(Slice bytes) {
    if (!reserve(bytes.size)) return false;
    if (bytes.size != 0) memcpy(end(), bytes.data, bytes.size);
    m_size += bytes.size;
    return true;
  }
  [[nodiscard]] bool append_byte(unsigned char byte) {
    if (!reserve(1)) return false;
    *end() = byte;
    ++m_size;
    return true;
  }

  /// Replaces the contents by a copy of `bytes`; false if memory is short.
  [[nodiscard]] bool assign(Slice bytes) {
    m_size = 0;
    return append(bytes);
  }

  /// Gives memory back when a rare large row left more than `bytes` behind.
  void shrink_to(size_t bytes) {
    if (m_capacity <= bytes) return;
    m_data.reset();
    m_size = m_capacity = 0;
  }

 private:
  bool grow(size_t extra) {
    const size_t wanted = m_size + extra;
    if (wanted < m_size) return false;
    const size_t capacity = std::max({wanted, m_capacity + m_capacity / 2, size_t{128}});
    std::unique_ptr<unsigned char[]> data(new (std::nothrow) unsigned char[capacity]);
    if (data == nullptr) return false;
    if (m_size != 0) memcpy(data.get(), m_data.get(), m_size);
    m_data = std::move(data);
    m_capacity = capacity;
    return true;
  }

  std::unique_ptr<unsigned char[]> m_data;
  size_t m_size = 0;
  size_t m_capacity = 0;
};

// Integers of keys and formats: big endian, so that bytes order as numbers do.

inline void store_be16(unsigned char *to, uint16_t value) {
  to[0] = static_cast<unsigned char>(value >> 8);
  to[1] = static_cast<unsigned char>(value);
}
inline void store_be32(unsigned char *to, uint32_t value) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<unsigned char>(value >> (24 - 8 * i));
}
inline void store_be64(unsigned char *to, uint64_t value) {
  for (int i = 0; i < 8; ++i) to[i] = static_cast<unsigned char>(value >> (56 - 8 * i));
}
inline uint16_t load_be16(const unsigned char *from) { return static_cast<uint16_t>((from[0] << 8) | from[1]); }
inline uint32_t load_be32(const unsigned char *from) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = (value << 8) | from[i];
  return value;
}
inline uint64_t load_be64(const unsigned char *from) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = (value << 8) | from[i];
  return value;
}

// Lengths in record buffers and key tuples of the server: 1 to 4 bytes, little endian.

inline size_t load_length(const unsigned char *from, unsigned bytes) {
  size_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) value |= size_t{from[i]} << (8 * i);
  return value;
}
inline void store_length(unsigned char *to, size_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) to[i] = static_cast<unsigned char>(value >> (8 * i));
}

// Lengths in values: LEB128, seven bits in each byte, at most five bytes (32 bits).

constexpr size_t kMaxVarintSize = 5;

/// Writes at `to`, which has kMaxVarintSize bytes of room; returns the place after.
inline unsigned char *store_varint(unsigned char *to, uint32_t value) {
  while (value >= 0x80) {
    *to++ = static_cast<unsigned char>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<unsigned char>(value);
  return to;
}

/// Reads bytes from front to back and never past the end.
class ByteReader {
 public:
  explicit ByteReader(Slice bytes) : m_at(bytes.data), m_end(bytes.data + bytes.size) {}

  size_t left() const { return static_cast<size_t>(m_end - m_at); }
  const unsigned char *at() const { return m_at; }

  /// The next `size` bytes, or null if fewer are left.
  const unsigned char *take(size_t size) {
    if (left() < size) return nullptr;
    const unsigned char *from = m_at;
    m_at += size;
    return from;
  }

  /// The next varint; false if it is cut short or over 32 bits.
  bool take_varint(uint32_t *value) {
    if (m_at != m_end && *m_at < 0x80) {
      *value = *m_at++;
      return true;
    }
    uint64_t result = 0;
    for (size_t i = 0; i < kMaxVarintSize && m_at != m_end; ++i) {
      const unsigned char byte = *m_at++;
      result |= uint64_t{byte & 0x7Fu} << (7 * i);
      if (byte < 0x80) {
        *value = static_cast<uint32_t>(result);
        return result <= UINT32_MAX;
      }
    }
    return false;
  }

 private:
  const unsigned char *m_at;
  const unsigned char *m_end;
};

}  // namespace smartengine

#endif  // SMARTENGINE_BYTE_BUFFER_H
