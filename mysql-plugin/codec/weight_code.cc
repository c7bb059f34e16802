#include "codec/weight_code.h"

#include <algorithm>

namespace smartengine {

namespace {

constexpr uchar kFirstPrintable = 0x20;
constexpr uchar kLastPrintable = 0x7E;
/// Above the first level: a base character, small, capital.
constexpr uint16_t kLevelWeights[] = {0x0002, 0x0008, 0x0020};

/// The one weight of an ASCII character on the first level, or 0 if it has none or several.
uint16_t weight_of(const CHARSET_INFO *charset, uchar character) {
  uchar string[8];
  const int size = charset->cset->wc_mb(charset, character, string, string + sizeof(string));
  if (size <= 0) return 0;
  uchar weights[256];
  const size_t bytes = charset->coll->strnxfrm(charset, weights, sizeof(weights), 1, string, static_cast<size_t>(size), 0);
  if (bytes < 2 || (bytes > 2 && (weights[2] != 0 || weights[3] != 0))) return 0;
  return load_be16(weights);
}

}  // namespace

std::shared_ptr<const WeightCode> WeightCode::of(const CHARSET_INFO *charset) {
  std::vector<uint16_t> frequent;
  if (charset->levels_for_compare > 1) frequent.assign(std::begin(kLevelWeights), std::end(kLevelWeights));
  for (uchar character = kFirstPrintable; character <= kLastPrintable; ++character) {
    const uint16_t weight = weight_of(charset, character);
    if (weight != 0) frequent.push_back(weight);
  }
  std::sort(frequent.begin(), frequent.end());
  frequent.erase(std::unique(frequent.begin(), frequent.end()), frequent.end());
  auto code = std::make_shared<WeightCode>();
  code->assign(frequent);
  code->find_ascii(charset);
  return code;
}

void WeightCode::assign(const std::vector<uint16_t> &frequent) {
  size_t next = 0;
  for (unsigned upper = 0; upper < 256; ++upper) {
    m_page_of[upper] = kUniform;
    m_uniform[upper] = static_cast<uchar>(2 * next + 1);
    if (next == frequent.size() || (frequent[next] >> 8) != upper) continue;
    m_page_of[upper] = static_cast<uchar>(m_pages.size());
    std::array<uchar, 256> &page = m_pages.emplace_back();
    for (unsigned lower = 0; lower < 256; ++lower) {
      const bool is_frequent = next != frequent.size() && frequent[next] == (upper << 8 | lower);
      page[lower] = static_cast<uchar>(2 * next + (is_frequent ? 2 : 1));
      if (is_frequent) ++next;
    }
  }
}

/// Only in the root collation: others may have weights of their own for two characters together.
void WeightCode::find_ascii(const CHARSET_INFO *charset) {
  m_ascii.fill(0);
  m_takes_ascii = charset == &my_charset_utf8mb4_0900_ai_ci;
  if (!m_takes_ascii) return;
  for (uchar character = kFirstPrintable; character <= kLastPrintable; ++character) {
    uchar weight[2];
    uchar code[kMaxSize];
    store_be16(weight, weight_of(charset, character));
    put(weight, code);
    if (load_be16(weight) != 0) m_ascii[character] = code[0];
  }
}

uchar *WeightCode::put_ascii(Slice string, uchar *to) const {
  if (!m_takes_ascii) return nullptr;
  for (size_t i = 0; i < string.size; ++i) {
    const uchar code = m_ascii[string.data[i]];
    if (code == 0) return nullptr;
    *to++ = code;
  }
  return to;
}

}  // namespace smartengine
