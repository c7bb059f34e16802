#include "codec/collation.h"

namespace smartengine {

namespace {

constexpr uchar kEscape = 0xFF;
constexpr uchar kLevelEnd = 0;
constexpr size_t kCodedWeightSize = 2;
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

/// Writes a run of `count` spaces, whose encoding is one space's and a marker; `more`: something greater than a space follows.
uchar *put_run(const uchar *space, size_t space_size, size_t count, bool more, uchar *to) {
  const auto put = [&](uchar marker) {
    memcpy(to, space, space_size);
    to[space_size] = marker;
    to += space_size + 1;
  };
  for (; count > kMaxRun; count -= kMaxRun) put(more ? kLongRunBeforeMore : kLongRunBeforeLess);
  put(static_cast<uchar>(more ? 0xFF - count : count));
  return to;
}

uchar *put_end(const uchar *space, size_t space_size, uchar *to) {
  memcpy(to, space, space_size);
  to[space_size] = kRunEnd;
  return to + space_size + 1;
}

/// Writes the pad-run form of bytes; `to` has room for 2 * size + 2 bytes. Returns the place after.
uchar *encode_byte_runs(const uchar *from, size_t size, uchar space, uchar *to) {
  const uchar *end = from + size;
  while (end != from && end[-1] == space) --end;
  while (from != end) {
    const void *found = memchr(from, space, static_cast<size_t>(end - from));
    const uchar *run = found == nullptr ? end : static_cast<const uchar *>(found);
    memcpy(to, from, static_cast<size_t>(run - from));
    to += run - from;
    if (run == end) break;
    from = run;
    while (*from == space) ++from;
    to = put_run(&space, 1, static_cast<size_t>(from - run), *from > space, to);
  }
  return put_end(&space, 1, to);
}

/// The same for weights of `N` bytes, with or without a code; `to` has room for 2 * size + 6 bytes.
template <size_t N>
uchar *encode_weight_runs(const uchar *from, size_t size, const uchar *space, const WeightCode *code, uchar *to) {
  uchar shown[WeightCode::kMaxSize + 1];
  memcpy(shown, space, N);
  if (code != nullptr) code->put(space, shown);
  const size_t shown_size = code != nullptr ? 1 : N;
  const auto is_space = [space](const uchar *weight) { return memcmp(weight, space, N) == 0; };
  const uchar *end = from + size / N * N;
  while (end != from && is_space(end - N)) end -= N;
  while (from != end) {
    if (is_space(from)) {
      const uchar *run = from;
      while (is_space(from)) from += N;
      to = put_run(shown, shown_size, static_cast<size_t>(from - run) / N, memcmp(from, space, N) > 0, to);
    } else if (code != nullptr) {
      to = code->put(from, to);
      from += N;
    } else {
      memcpy(to, from, N);
      to += N;
      from += N;
    }
  }
  return put_end(shown, shown_size, to);
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
    m_code = WeightCode::of(m_charset);
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
    if (size == kCodedWeightSize) m_code = WeightCode::of(m_charset);
    if (m_code != nullptr && !m_code->is_frequent(m_pad)) m_code.reset();
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
  // As many weights as there may be characters. Whatever is too much is spaces, which do not count.
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
  if (!out->reserve(string.size + 1)) return false;
  if (uchar *after = m_code->put_ascii(string, out->end()); after != nullptr) {
    *after++ = kLevelEnd;
    out->advance(static_cast<size_t>(after - out->end()));
    return true;
  }
  const size_t weights_room = weights_bound(string.size);
  const size_t room = weights_room / kCodedWeightSize * WeightCode::kMaxSize + m_levels;
  if (!out->reserve(room + weights_room)) return false;
  uchar *to = out->end();
  const uchar *weight = to + room;
  const uchar *const end = weight + (weigh(string, to + room, weights_room) & ~size_t{1});
  size_t levels = 0;
  for (; weight != end; weight += kCodedWeightSize) {
    if (weight[0] != 0 || weight[1] != 0) {
      to = m_code->put(weight, to);
    } else {
      *to++ = kLevelEnd;
      ++levels;
    }
  }
  // The last level has no end yet. In Japanese it may not be there at all: the fourth is only for strings with Kana.
  for (; levels < m_levels; ++levels) *to++ = kLevelEnd;
  out->advance(static_cast<size_t>(to - out->end()));
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
  uchar *const after = encode_end(string, to);
  out->advance(static_cast<size_t>(after - to));
  return true;
}

uchar *CollationCodec::encode_end(Slice string, uchar *to) const {
  if (m_end != End::kPadRun) return escape_zeros(string.data, string.size, to);
  switch (m_pad_size) {
    case 1:
      return encode_byte_runs(string.data, string.size, m_pad[0], to);
    case 2:
      return encode_weight_runs<2>(string.data, string.size, m_pad, m_code.get(), to);
    case 3:
      return encode_weight_runs<3>(string.data, string.size, m_pad, nullptr, to);
    default:
      return encode_weight_runs<4>(string.data, string.size, m_pad, nullptr, to);
  }
}

bool CollationCodec::skip(ByteReader *key, uchar mask) const {
  switch (m_end) {
    case End::kLevelEnded:
      return skip_levels(key, mask);
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
      return m_code != nullptr ? skip_coded_runs(key, mask) : skip_runs(key, mask);
  }
  return false;
}

bool CollationCodec::skip_levels(ByteReader *key, uchar mask) const {
  for (uint8_t levels = 0; levels < m_levels;) {
    const uchar *code = key->take(1);
    if (code == nullptr) return false;
    if (*code == mask) {
      ++levels;
    } else if (WeightCode::is_gap(*code ^ mask) && key->take(kCodedWeightSize) == nullptr) {
      return false;
    }
  }
  return true;
}

bool CollationCodec::skip_coded_runs(ByteReader *key, uchar mask) const {
  uchar space[WeightCode::kMaxSize];
  m_code->put(m_pad, space);
  for (;;) {
    const uchar *code = key->take(1);
    if (code == nullptr) return false;
    if ((*code ^ mask) == space[0]) {
      const uchar *marker = key->take(1);
      if (marker == nullptr || !is_marker(*marker ^ mask)) return false;
      if ((*marker ^ mask) == kRunEnd) return true;
    } else if (WeightCode::is_gap(*code ^ mask) && key->take(kCodedWeightSize) == nullptr) {
      return false;
    }
  }
}

bool CollationCodec::skip_runs(ByteReader *key, uchar mask) const {
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
