// How big a table's indexes are and how many rows share a key, for the optimizer.
//
// Sizes come from the engine's own file indexes and memtables, where a row counts as often as it was written; the rows
// of a small table are counted. They are asked for again when they are older than a second; what statements add and
// remove meanwhile is added up here.
//
// Rows per key are sampled when a table is first used, after it has doubled, and, with more effort, by ANALYZE TABLE:
// seeks jump from one distinct key prefix to the next, until the index or the budget ends; the part of the index that
// was seen then stands for all of it.

#ifndef SMARTENGINE_TABLE_STATS_H
#define SMARTENGINE_TABLE_STATS_H

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "codec/table_codec.h"
#include "smartengine-ffi/src/bridge.rs.h"

namespace smartengine {

class TableStats {
 public:
  struct Sizes {
    uint64_t rows = 0;
    uint64_t row_bytes = 0;
    uint64_t index_bytes = 0;
  };

  /// `version` changes when rows per key have been sampled anew.
  Sizes sizes(const TableCodec &codec, uint64_t *version);
  /// Rows per distinct value of the first `part + 1` parts of the server's index; 0 where it is not known.
  double rows_per_key(const TableCodec &codec, uint key_number, uint part);
  /// A statement added so many rows, or removed them.
  void note_rows(int64_t added) { m_added_since.fetch_add(added, std::memory_order_relaxed); }
  /// Samples anew, with the budget of ANALYZE TABLE; 0 or an error number.
  int analyze(const TableCodec &codec);

 private:
  void refresh(const TableCodec &codec);
  bool resample(const TableCodec &codec);
  int sample(const TableCodec &codec, uint64_t seeks);

  std::mutex m_mutex;
  Sizes m_sizes;
  std::atomic<int64_t> m_added_since{0};
  uint64_t m_read_at_us = 0;
  uint64_t m_sampled_rows = 0;
  uint64_t m_version = 0;  ///< Samplings so far.
  std::vector<std::vector<double>> m_rows_per_key;
};

/// What lies in [lower, upper).
ffi::RangeStats range_stats(const ByteBuffer &lower, const ByteBuffer &upper);

}  // namespace smartengine

#endif  // SMARTENGINE_TABLE_STATS_H
