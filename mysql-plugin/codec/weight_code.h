// Collation weights in fewer bytes, in the same order.
//
// Most weights of a string are those of a few characters. So each collation with weights of 16 bits gets a code: the weights of the printable ASCII
// characters (and the usual ones of the levels above the first) are one byte each; every other weight is the byte of the gap between two
// of them that it lies in, and its own two bytes.
//
//   byte 2i + 1    gap i: weights below the i-th frequent one and above the one before; u16 weight follows
//   byte 2i + 2    the i-th frequent weight, counted from 0 in ascending order
//
// Codes order as weights do, none is a prefix of another, and no byte at their start is 00, which is left for the end of a level.
// The frequent weights belong to the format of keys: what they are follows from the collation alone.

#ifndef SMARTENGINE_WEIGHT_CODE_H
#define SMARTENGINE_WEIGHT_CODE_H

#include <array>
#include <memory>
#include <vector>

#include "base/byte_buffer.h"
#include "compat.h"

namespace smartengine {

class WeightCode {
 public:
  /// Bytes of a weight in the code, at most.
  static constexpr size_t kMaxSize = 3;

  /// The code of a collation whose weights are big-endian numbers of 16 bits.
  static std::shared_ptr<const WeightCode> of(const CHARSET_INFO *charset);

  /// Writes a weight at `to`; returns the place after.
  uchar *put(const uchar *weight, uchar *to) const {
    const uchar code = first_byte(weight);
    *to++ = code;
    if (!is_gap(code)) return to;
    *to++ = weight[0];
    *to++ = weight[1];
    return to;
  }

  /// Whether a weight is one byte.
  bool is_frequent(const uchar *weight) const { return !is_gap(first_byte(weight)); }
  /// Whether a weight follows this first byte.
  static bool is_gap(uchar code) { return (code & 1) != 0; }

  /// The codes of a string all of whose characters are frequent ASCII ones that weigh by themselves, else null. `to` has room for `string.size`.
  uchar *put_ascii(Slice string, uchar *to) const;

 private:
  static constexpr uchar kUniform = 0xFF;

  uchar first_byte(const uchar *weight) const {
    const uchar page = m_page_of[weight[0]];
    return page == kUniform ? m_uniform[weight[0]] : m_pages[page][weight[1]];
  }
  void assign(const std::vector<uint16_t> &frequent);
  void find_ascii(const CHARSET_INFO *charset);

  std::array<uchar, 256> m_page_of;  ///< By the upper byte of a weight: its place in m_pages, or kUniform.
  std::array<uchar, 256> m_uniform;  ///< Where all weights of an upper byte lie in one gap: that.
  std::vector<std::array<uchar, 256>> m_pages;
  std::array<uchar, 256> m_ascii;  ///< The code of a byte; 0: not to be taken alone.
  bool m_takes_ascii = false;
};

}  // namespace smartengine

#endif  // SMARTENGINE_WEIGHT_CODE_H
