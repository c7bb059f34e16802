// Strings in keys: for any collation of the server, bytes that order and compare equal exactly as the collation does,
// and whose end cannot be confused with content.
//
// What is encoded is the string itself where its bytes order as the collation does (binary, and *_bin of most
// charsets), otherwise the collation's weights. "Exactly" means as MY_COLLATION_HANDLER::strnncollsp compares, which
// `=` and unique keys follow. The weights of strnxfrm agree with it except for two collations, which are treated
// separately: big5_chinese_ci (strnxfrm counts strokes, the comparison takes codes) and tis620_thai_ci (strnxfrm stops at a
// NUL). The end is marked in one of three ways.
//
//   zero-escaped   NO PAD. Each 00 is followed by FF; 00 00 ends the string, so it sorts before all that continue it.
//                  Also the two Czech collations of 8-bit charsets: they are called PAD SPACE, but cut trailing
//                  spaces off and have weights that end by themselves.
//   level-ended    NO PAD, UCA 9.0 weights, each in its code (weight_code.h); 00 ends each level.
//   pad-run        PAD SPACE: strings compare as if spaces followed for ever. A run of spaces in front of something
//                  else is one space unit and one marker byte, which says how long the run is and whether what
//                  follows sorts before or after a space. The end is a run without end: a space unit and the marker
//                  80. No other byte is escaped; weights of 16 bits stand in their code. The marker of a run of k
//                    in front of less than a space   k        1..=7D; 7E: 7D spaces, and the run goes on
//                    in front of more than a space   FF - k   82..=FE; 81: 7D spaces, and the run goes on
//                  So "a\t" < "a" = "a  " < "a a" < "ab", as the server has it.

#ifndef SMARTENGINE_COLLATION_H
#define SMARTENGINE_COLLATION_H

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/byte_buffer.h"
#include "codec/weight_code.h"
#include "compat.h"

namespace smartengine {

/// The length of a string without its trailing space bytes. For charsets whose shortest character is one byte, where no
/// other character ends with the byte of a space.
size_t length_without_spaces(const uchar *string, size_t size);

/// The length of a string of any charset without its trailing spaces.
size_t length_without_spaces(const CHARSET_INFO *charset, const uchar *string, size_t size);

/// Fills `size` bytes with spaces of the charset.
void fill_with_spaces(const CHARSET_INFO *charset, uchar *to, size_t size);

/// The encoding of one collation's strings. A small value that is copied into each key part.
class CollationCodec {
 public:
  CollationCodec() = default;
  explicit CollationCodec(const CHARSET_INFO *charset);

  /// Appends the encoding of a string. False if memory is short.
  [[nodiscard]] bool encode(Slice string, ByteBuffer *out) const;

  /// Passes over an encoded string, whose bytes are all XORed with `mask` (FF where the key part is descending). False
  /// if it has no end.
  bool skip(ByteReader *key, uchar mask) const;

  /// Whether decode() gives the string back, except for trailing spaces under PAD SPACE.
  bool is_reversible() const { return m_source == Source::kBytes; }
  /// Whether trailing spaces do not count.
  bool is_pad_space() const { return m_end == End::kPadRun; }

  /// Reads an encoded string (see skip()) into `to`, which has room for `room` bytes. Only where is_reversible().
  bool decode(ByteReader *key, uchar mask, uchar *to, size_t room, size_t *size) const;

 private:
  enum class Source : uint8_t { kBytes, kWeights, kBig5, kThai };
  enum class End : uint8_t { kZeroEscaped, kLevelEnded, kPadRun };

  void find_end();
  size_t weights_bound(size_t size) const;
  size_t weigh(Slice string, uchar *to, size_t room) const;
  size_t weigh_big5(Slice string, uchar *to) const;
  size_t weigh_thai(Slice string, uchar *to) const;
  bool encode_level_ended(Slice string, ByteBuffer *out) const;
  uchar *encode_end(Slice string, uchar *to) const;
  bool skip_levels(ByteReader *key, uchar mask) const;
  bool skip_coded_runs(ByteReader *key, uchar mask) const;
  bool skip_runs(ByteReader *key, uchar mask) const;

  const CHARSET_INFO *m_charset = nullptr;
  Source m_source = Source::kBytes;
  End m_end = End::kZeroEscaped;
  bool m_strip = false;                      ///< Zero-escaped: trailing spaces are cut off first.
  uint8_t m_levels = 1;                      ///< Level-ended: how many levels end.
  uint8_t m_pad_size = 1;                    ///< Pad-run: bytes of a space's weight ...
  uchar m_pad[4] = {' '};                    ///< ... and they themselves.
  std::shared_ptr<const WeightCode> m_code;  ///< Of weights of 16 bits.
};

}  // namespace smartengine

#endif  // SMARTENGINE_COLLATION_H
