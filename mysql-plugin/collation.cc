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
  if ((charset->state & MY_CS_BINSORT) != 0 && charset->mbminlen == 1) {
    m_source = Source::kBytes;
    m_end = charset->pad_attribute == PAD_SPACE ? End::kPadRun : End::kZeroEscaped;
    return;
  }
  m_source = strcmp(charset->csname, "big5") == 0     ? Source::kBig5
             : strcmp(charset->csname, "tis620") == 0 ? Source::kThai
                                                      : Source::kWeights;
  find_end();
}

void CollationCodec::find_end() {
  if (m_charset->pad_attribute != PAD_SPACE) {
    m_end = End::kLevelEnded;
    m_levels = m_charset->levels_for_compare;
    return;
  }
  // Where two spaces do not weigh twice as much as one, the collation cuts them off.
  uchar spaces[16];
  uchar one[16];
  uchar two[16];
  fill_with_spaces(m_charset, spaces, sizeof(spaces));
  const auto *coll = m_charset->coll;
  const size_t size = coll->strnxfrm(m_charset, one, sizeof(one), 1, spaces, m_charset->mbminlen, 0);
  const size_t twice = coll->strnxfrm(m_charset, two, sizeof(two), 2, spaces, 2 * m_charset->mbminlen, 0);
  if (size != 0 && size <= sizeof(m_pad) && twice == 2 * size && memcmp(two, one, size) == 0) {
    m_end = End::kPadRun;
    m_pad_size = static_cast<uint8_t>(size);
    memcpy(m_pad, one, size);
  } else {
    m_end = End::kZeroEscaped;
    m_strip = true;
  }
}

/// A bound for what weigh() writes.
size_t CollationCodec::weights_bound(size_t size) const {
  switch (m_source) {
    case Source::kBytes:
    case Source::kBig5:
      return size;
    case Source::kThai:
      return 3 * size;
    case Source::kWeights:
      break;
  }
  // The server's bound counts in bytes of the widest characters.
  const size_t characters = size / m_charset->mbminlen + 1;
  return (m_charset->coll->strnxfrmlen(m_charset, characters * m_charset->mbmaxlen) + 3) & ~size_t{1};
}

size_t CollationCodec::weigh(Slice string, uchar *to, size_t room) const {
  if (m_source == Source::kBig5) return weigh_big5(string, to);
  if (m_source == Source::kThai && string.size != 0 && memchr(string.data, 0, string.size) != nullptr) {
    return weigh_thai(string, to);
  }
  // As many weights as there may be characters. What is too much is spaces, which do not count.
  const uint weights = static_cast<uint>(string.size / m_charset->mbminlen);
  return m_charset->coll->strnxfrm(m_charset, to, room, weights, string.data, string.size, 0);
}

size_t CollationCodec::weigh_big5(Slice string, uchar *to) const {
  const uchar *const end = string.data + string.size;
  for (const uchar *from = string.data; from != end;) {
    if (my_ismbchar(m_charset, from, end) != 0) {
      *to++ = *from++;
      *to++ = *from++;
    } else {
      *to++ = m_charset->sort_order[*from++];
    }
  }
  return string.size;
}

/// The collation moves bytes about and treats every one outside the Thai range alike, so a byte that comes out as 1 if
/// 1 stood for NUL, and as 2 if 2 did, is a NUL.
size_t CollationCodec::weigh_thai(Slice string, uchar *to) const {
  const size_t size = string.size;
  uchar *const copy = to + size;
  uchar *const other = copy + size;
  const auto weigh_with = [&](uchar stand_in, uchar *into) {
    for (size_t i = 0; i < size; ++i) copy[i] = string.data[i] != 0 ? string.data[i] : stand_in;
    m_charset->coll->strnxfrm(m_charset, into, size, static_cast<uint>(size), copy, size, 0);
  };
  weigh_with(1, to);
  weigh_with(2, other);
  for (size_t i = 0; i < size; ++i) {
    if (to[i] != other[i]) to[i] = 0;
  }
  return size;
}

bool CollationCodec::encode_level_ended(Slice string, ByteBuffer *out) const {
  const size_t room = weights_bound(string.size);
  if (!out->reserve(room + 2 * m_levels)) return false;
  uchar *const to = out->end();
  size_t size = weigh(string, to, room) & ~size_t{1};
  size_t missing = 1;
  if (m_levels > 3) {
    // The fourth level, with its separator, is there only for strings with Kana.
    size_t levels = 0;
    for (size_t i = 0; i < size; i += 2) levels += to[i] == 0 && to[i + 1] == 0 ? 1 : 0;
    missing = levels < m_levels ? m_levels - levels : 0;
  }
  memset(to + size, 0, 2 * missing);
  out->advance(size + 2 * missing);
  return true;
}

bool CollationCodec::encode(Slice string, ByteBuffer *out) const {
  if (m_end == End::kLevelEnded) return encode_level_ended(string, out);
  if (m_strip || (m_source == Source::kBytes && m_end == End::kPadRun)) {
    string.size = length_without_spaces(string.data, string.size);
  }
  const size_t weights_room = weights_bound(string.size);
  const size_t room = 2 * weights_room + sizeof(m_pad) + 2;
  if (!out->reserve(room + (m_source == Source::kBytes ? 0 : weights_room))) return false;
  uchar *const to = out->end();
  if (m_source != Source::kBytes) {
    // The weights wait behind the room of their encoding.
    string = Slice{to + room, weigh(string, to + room, weights_room)};
  }
  uchar *const after =
      m_end == End::kPadRun ? encode_pad_runs(string.data, string.size, m_pad, m_pad_size, to) : escape_zeros(string.data, string.size, to);
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
