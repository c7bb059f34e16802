#include "collation.h"

namespace smartengine {

namespace {

constexpr uchar kEscape = 0xFF;
constexpr uchar kRunEnd = 0x80;
constexpr size_t kMaxRun = 0x7D;
constexpr uchar kLongRunBeforeLess = 0x7E;
constexpr uchar kLongRunBeforeMore = 0x81;

/// Writes the zero-escaped form; `to` has room for 2 * size + 2 bytes. Returns the place after.
uchar *escape_zeros(const uchar *from, size_t size, uchar *to) {
  const uchar *const end = from + size;
  while (from != end) {
    const void *zero = memchr(from, 0, static_cast<size_t>(end - from));
    const uchar *stop = zero == nullptr ? end : static_cast<const uchar *>(zero) + 1;
    memcpy(to, from, static_cast<size_t>(stop - from));
    to += stop - from;
    if (zero != nullptr) *to++ = kEscape;
    from = stop;
  }
  to[0] = to[1] = 0;
  return to + 2;
}

template <size_t N>
bool is_pad(const uchar *unit, const uchar *pad) {
  if constexpr (N == 1) return *unit == *pad;
  return memcmp(unit, pad, N) == 0;
}

/// The first space unit of [from, end), or end.
template <size_t N>
const uchar *find_pad(const uchar *from, const uchar *end, const uchar *pad) {
  if constexpr (N == 1) {
    const void *at = memchr(from, *pad, static_cast<size_t>(end - from));
    return at == nullptr ? end : static_cast<const uchar *>(at);
  }
  while (from != end && !is_pad<N>(from, pad)) from += N;
  return from;
}

/// Writes the pad-run form; `to` has room for size + size / N + N + 1 bytes. Returns the place after.
template <size_t N>
uchar *encode_pad_runs(const uchar *from, size_t size, const uchar *pad, uchar *to) {
  const uchar *end = from + size / N * N;
  while (end != from && is_pad<N>(end - N, pad)) end -= N;
  while (from != end) {
    const uchar *run = find_pad<N>(from, end, pad);
    memcpy(to, from, static_cast<size_t>(run - from));
    to += run - from;
    if (run == end) break;
    from = run;
    while (is_pad<N>(from, pad)) from += N;
    const bool more = memcmp(from, pad, N) > 0;
    size_t left = static_cast<size_t>(from - run) / N;
    for (; left > kMaxRun; left -= kMaxRun) {
      memcpy(to, pad, N);
      to[N] = more ? kLongRunBeforeMore : kLongRunBeforeLess;
      to += N + 1;
    }
    memcpy(to, pad, N);
    to[N] = static_cast<uchar>(more ? 0xFF - left : left);
    to += N + 1;
  }
  memcpy(to, pad, N);
  to[N] = kRunEnd;
  return to + N + 1;
}

uchar *encode_pad_runs(const uchar *from, size_t size, const uchar *pad, size_t pad_size, uchar *to) {
  switch (pad_size) {
    case 1:
      return encode_pad_runs<1>(from, size, pad, to);
    case 2:
      return encode_pad_runs<2>(from, size, pad, to);
    case 3:
      return encode_pad_runs<3>(from, size, pad, to);
    default:
      return encode_pad_runs<4>(from, size, pad, to);
  }
}

/// How many spaces a marker stands for; 0: it ends the string.
size_t run_of_marker(uchar marker) {
  if (marker == kRunEnd) return 0;
  if (marker == kLongRunBeforeLess || marker == kLongRunBeforeMore) return kMaxRun;
  return marker < kRunEnd ? marker : size_t{0xFF} - marker;
}

bool is_marker(uchar marker) { return marker != 0x00 && marker != 0x7F && marker != 0xFF; }

}  // namespace

size_t length_without_spaces(const uchar *string, size_t size) {
  constexpr uint64_t kSpaces = 0x2020202020202020ULL;
  while (size >= sizeof(kSpaces)) {
    uint64_t tail;
    memcpy(&tail, string + size - sizeof(tail), sizeof(tail));
    if (tail != kSpaces) break;
    size -= sizeof(tail);
  }
  while (size != 0 && string[size - 1] == ' ') --size;
  return size;
}

size_t length_without_spaces(const CHARSET_INFO *charset, const uchar *string, size_t size) {
  if (charset->mbminlen == 1) return length_without_spaces(string, size);
  return charset->cset->lengthsp(charset, reinterpret_cast<const char *>(string), size);
}

void fill_with_spaces(const CHARSET_INFO *charset, uchar *to, size_t size) {
  if (charset->mbminlen == 1) {
    memset(to, ' ', size);
  } else {
    charset->cset->fill(charset, reinterpret_cast<char *>(to), size, ' ');
  }
}

CollationCodec::CollationCodec(const CHARSET_INFO *charset) : m_charset(charset) {
  const bool pad_space = charset->pad_attribute == PAD_SPACE;
  if ((charset->state & MY_CS_BINSORT) != 0 && charset->mbminlen == 1) {
    m_source = Source::kBytes;
    m_end = pad_space ? End::kPadRun : End::kZeroEscaped;
    return;
  }
  m_source = Source::kWeights;
  if (!pad_space) {
    m_end = End::kLevelEnded;
    m_levels = charset->levels_for_compare;
    return;
  }
  // The space's weight is what the collation itself pads with: that of nothing, at least one character wide.
  uchar padding[16];
  uchar nothing = 0;
  const size_t size = charset->coll->strnxfrm(charset, padding, sizeof(padding), 1, &nothing, 0, 0);
  uchar twice[16];
  const size_t twice_size = charset->coll->strnxfrm(charset, twice, sizeof(twice), 2, &nothing, 0, 0);
  if (size != 0 && size <= sizeof(m_pad) && twice_size == 2 * size && memcmp(twice, padding, size) == 0) {
    m_end = End::kPadRun;
    m_pad_size = static_cast<uint8_t>(size);
    memcpy(m_pad, padding, size);
  } else {
    m_end = End::kZeroEscaped;
    m_strip = true;
  }
}

size_t CollationCodec::weights_bound(size_t size) const {
  // The server's bound counts in bytes of the widest characters.
  const size_t characters = size / m_charset->mbminlen + 1;
  return (m_charset->coll->strnxfrmlen(m_charset, characters * m_charset->mbmaxlen) + 3) & ~size_t{1};
}

size_t CollationCodec::weigh(Slice string, uchar *to, size_t room) const {
  // As many weights as there are bytes: at least one for each character. What is too much is spaces, which do not count.
  const uint weights = static_cast<uint>(string.size / m_charset->mbminlen);
  return m_charset->coll->strnxfrm(m_charset, to, room, weights, string.data, string.size, 0);
}

bool CollationCodec::encode_level_ended(Slice string, ByteBuffer *out) const {
  const size_t room = weights_bound(string.size);
  if (!out->reserve(room + 2)) return false;
  uchar *const to = out->end();
  const size_t size = weigh(string, to, room) & ~size_t{1};
  to[size] = to[size + 1] = 0;
  out->advance(size + 2);
  return true;
}

bool CollationCodec::encode(Slice string, ByteBuffer *out) const {
  if (m_end == End::kLevelEnded) return encode_level_ended(string, out);
  if (m_strip || m_end == End::kPadRun) {
    string.size = length_without_spaces(m_charset, string.data, string.size);
  }
  const size_t weights_room = m_source == Source::kWeights ? weights_bound(string.size) : string.size;
  const size_t room = 2 * weights_room + sizeof(m_pad) + 2;
  if (!out->reserve(room + (m_source == Source::kWeights ? weights_room : 0))) return false;
  uchar *const to = out->end();
  if (m_source == Source::kWeights) {
    // The weights wait behind the room of their encoding.
    string = Slice{to + room, weigh(string, to + room, weights_room)};
  }
  uchar *const after = m_end == End::kPadRun ? encode_pad_runs(string.data, string.size, m_pad, m_pad_size, to)
                                             : escape_zeros(string.data, string.size, to);
  out->advance(static_cast<size_t>(after - to));
  return true;
}

bool CollationCodec::skip(ByteReader *key, uchar mask) const {
  switch (m_end) {
    case End::kLevelEnded: {
      uint8_t levels = 0;
      while (levels < m_levels) {
        const uchar *unit = key->take(2);
        if (unit == nullptr) return false;
        if (unit[0] == mask && unit[1] == mask) ++levels;
      }
      return true;
    }
    case End::kZeroEscaped:
      for (;;) {
        const uchar *byte = key->take(1);
        if (byte == nullptr) return false;
        if (*byte != mask) continue;
        const uchar *after = key->take(1);
        if (after == nullptr) return false;
        if (*after == mask) return true;
        if ((*after ^ mask) != kEscape) return false;
      }
    case End::kPadRun:
      for (;;) {
        const uchar *unit = key->take(m_pad_size);
        if (unit == nullptr) return false;
        bool pad = true;
        for (size_t i = 0; i < m_pad_size; ++i) pad = pad && (unit[i] ^ mask) == m_pad[i];
        if (!pad) continue;
        const uchar *marker = key->take(1);
        if (marker == nullptr || !is_marker(*marker ^ mask)) return false;
        if ((*marker ^ mask) == kRunEnd) return true;
      }
  }
  return false;
}

bool CollationCodec::decode(ByteReader *key, uchar mask, uchar *to, size_t room, size_t *size) const {
  uchar *const start = to;
  uchar *const end = to + room;
  const uchar special = (m_end == End::kPadRun ? m_pad[0] : 0) ^ mask;
  for (;;) {
    // What stands before the next special byte is the string itself.
    const uchar *from = key->at();
    const void *found = key->left() == 0 ? nullptr : memchr(from, special, key->left());
    if (found == nullptr) return false;
    const size_t plain = static_cast<size_t>(static_cast<const uchar *>(found) - from);
    if (plain > static_cast<size_t>(end - to)) return false;
    if (mask == 0) {
      if (plain != 0) memcpy(to, from, plain);
    } else {
      for (size_t i = 0; i < plain; ++i) to[i] = from[i] ^ mask;
    }
    to += plain;
    key->take(plain + 1);
    const uchar *byte = key->take(1);
    if (byte == nullptr) return false;
    const uchar marker = *byte ^ mask;
    if (m_end == End::kZeroEscaped) {
      if (marker == 0) break;
      if (marker != kEscape || to == end) return false;
      *to++ = 0;
    } else {
      if (!is_marker(marker)) return false;
      const size_t run = run_of_marker(marker);
      if (run == 0) break;
      if (run > static_cast<size_t>(end - to)) return false;
      memset(to, ' ', run);
      to += run;
    }
  }
  *size = static_cast<size_t>(to - start);
  return true;
}

}  // namespace smartengine
