#include "table/table_stats.h"

#include <algorithm>

#include "base/engine.h"
#include "base/error_map.h"
#include "compat.h"
#include "my_systime.h"
#include "table/table_state.h"

namespace smartengine {

namespace {

constexpr uint64_t kSizesAgeUs = 1000 * 1000;
constexpr uint64_t kSizesAgeUsPerRow = 100;
constexpr uint64_t kCountedRows = 1000;
constexpr uint64_t kOpenSeeks = 64;
constexpr uint64_t kAnalyzeSeeks = 10000;

/// Distinct prefixes of one length in an index, found by jumping from each to the next.
struct Distinct {
  uint64_t found = 0;
  double entries = 0;  ///< That these prefixes cover.
};

/// Rows that are committed in an index; more than `limit` are not looked for.
int count_rows(const IndexCodec &index, uint64_t limit, uint64_t *rows) {
  *rows = 0;
  rust::Box<ffi::TxnHandle> txn = ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted);
  rust::Box<ffi::ReaderHandle> reader = ffi::reader_create(engine());
  ByteBuffer lower, upper;
  const int error = index.range(&lower, &upper);
  if (error != 0) return error;
  ffi::Status status =
      ffi::reader_open(*reader, *txn, bytes(lower.slice()), bytes(upper.slice()), {ffi::LockMode::None, ffi::LockWait::Wait, 0});
  ffi::Entry entry{};
  if (ok(status)) status = ffi::reader_seek(*reader, *txn, ffi::Seek::First, {}, entry);
  for (; ok(status) && *rows < limit; status = ffi::reader_next(*reader, *txn, entry)) ++*rows;
  return ok(status) || status.code == ffi::Code::NotFound ? 0 : ha_error(status, nullptr);
}

class Sampler {
 public:
  explicit Sampler(const IndexCodec &index)
      : m_index(index), m_txn(ffi::txn_begin(engine(), ffi::Isolation::ReadCommitted)), m_reader(ffi::reader_create(engine())) {}
  ~Sampler() { ffi::txn_rollback(*m_txn); }

  int count(size_t parts, uint64_t seeks, uint64_t index_entries, Distinct *distinct) {
    ByteBuffer lower, upper, at;
    if (m_index.range(&lower, &upper) != 0 || !at.assign(lower.slice())) return HA_ERR_OUT_OF_MEM;
    const ffi::ReadSpec spec{ffi::LockMode::None, ffi::LockWait::Wait, 0};
    ffi::Status status = ffi::reader_open(*m_reader, *m_txn, bytes(lower.slice()), bytes(upper.slice()), spec);
    bool ended = false;
    while (ok(status) && distinct->found < seeks) {
      ffi::Entry entry{};
      status = ffi::reader_seek(*m_reader, *m_txn, ffi::Seek::AtOrAfter, bytes(at.slice()), entry);
      if (!ok(status)) break;
      const size_t size = prefix_size(slice(entry.key), parts);
      if (size == 0 || !at.assign({entry.key.data, size})) break;
      ++distinct->found;
      if (!prefix_successor(&at)) break;
    }
    ended = status.code == ffi::Code::NotFound;
    ffi::reader_close(*m_reader);
    if (!ok(status) && !ended) return ha_error(status, nullptr);
    distinct->entries = static_cast<double>(index_entries);
    if (!ended) distinct->entries = std::min<double>(distinct->entries, static_cast<double>(range_stats(lower, at).entries));
    return 0;
  }

 private:
  /// Bytes of the index id and the first parts of a key; 0 if the key is damaged.
  size_t prefix_size(Slice key, size_t parts) const {
    ByteReader reader(key);
    if (reader.take(sizeof(uint32_t)) == nullptr) return 0;
    for (size_t i = 0; i < parts; ++i) {
      if (!m_index.parts()[i].decode(&reader, nullptr, nullptr)) return 0;
    }
    return key.size - reader.left();
  }

  const IndexCodec &m_index;
  rust::Box<ffi::TxnHandle> m_txn;
  rust::Box<ffi::ReaderHandle> m_reader;
};

ffi::RangeStats index_stats(const IndexCodec &index) {
  ByteBuffer lower, upper;
  if (index.range(&lower, &upper) != 0) return {};
  return range_stats(lower, upper);
}

}  // namespace

ffi::RangeStats range_stats(const ByteBuffer &lower, const ByteBuffer &upper) {
  return ffi::engine_range_stats(engine(), bytes(lower.slice()), bytes(upper.slice()));
}

void TableStats::refresh(const TableCodec &codec) {
  const uint64_t now = my_micro_time();
  // A small table may be many times its size a moment later, and is quickly measured.
  const uint64_t age_limit = std::min(kSizesAgeUs, m_sizes.rows * kSizesAgeUsPerRow);
  if (m_read_at_us != 0 && now - m_read_at_us < age_limit) return;
  const ffi::RangeStats rows = index_stats(codec.row_index());
  m_sizes = {rows.entries, rows.bytes, 0};
  for (uint i = 0; i < codec.index_count(); ++i) {
    if (!codec.index(i).is_row_index()) m_sizes.index_bytes += index_stats(codec.index(i)).bytes;
  }
  m_added_since.store(0, std::memory_order_relaxed);
  uint64_t counted = 0;
  if (rows.entries <= kCountedRows && count_rows(codec.row_index(), kCountedRows, &counted) == 0) m_sizes.rows = counted;
  m_read_at_us = now;
}

/// Samples if that was never done, or if the table has grown much since.
bool TableStats::resample(const TableCodec &codec) {
  refresh(codec);
  const bool stale = m_version == 0 || m_sizes.rows > 2 * m_sampled_rows + 100;
  return !stale || sample(codec, kOpenSeeks) == 0;
}

TableStats::Sizes TableStats::sizes(const TableCodec &codec, uint64_t *version) {
  const std::lock_guard<std::mutex> guard(m_mutex);
  resample(codec);
  *version = m_version;
  Sizes sizes = m_sizes;
  const int64_t added = m_added_since.load(std::memory_order_relaxed);
  sizes.rows = added < 0 && sizes.rows < static_cast<uint64_t>(-added) ? 0 : sizes.rows + static_cast<uint64_t>(added);
  return sizes;
}

int TableStats::sample(const TableCodec &codec, uint64_t seeks) {
  std::vector<std::vector<double>> sampled(codec.index_count());
  for (uint i = 0; i < codec.index_count(); ++i) {
    const IndexCodec &index = codec.index(i);
    const uint64_t entries = index_stats(index).entries;
    const bool unique = index.kind() == IndexKind::kPrimary;
    Sampler sampler(index);
    for (size_t parts = 1; parts <= index.parts().size(); ++parts) {
      if (unique && parts == index.parts().size()) {
        sampled[i].push_back(1.0);
        continue;
      }
      Distinct distinct;
      const int error = sampler.count(parts, seeks, entries, &distinct);
      if (error != 0) return error;
      const double rows = distinct.found == 0 ? 1.0 : distinct.entries / static_cast<double>(distinct.found);
      sampled[i].push_back(std::max(rows, 1.0));
    }
  }
  m_rows_per_key = std::move(sampled);
  ++m_version;
  m_sampled_rows = m_sizes.rows;
  return 0;
}

double TableStats::rows_per_key(const TableCodec &codec, uint key_number, uint part) {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (!resample(codec)) return 0;
  if (key_number >= m_rows_per_key.size() || part >= m_rows_per_key[key_number].size()) return 0;
  return m_rows_per_key[key_number][part];
}

int TableStats::analyze(const TableCodec &codec) {
  const std::lock_guard<std::mutex> guard(m_mutex);
  m_read_at_us = 0;
  refresh(codec);
  return sample(codec, kAnalyzeSeeks);
}

}  // namespace smartengine
