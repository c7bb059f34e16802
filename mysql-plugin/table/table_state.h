// What all handlers of a table share.
//
// TableState lives as long as the table does, whatever the server's table cache evicts: its counters cover values that
// uncommitted transactions were given. TableShare hangs off the server's TABLE_SHARE and adds the codecs, which are
// made for one definition of the columns.

#ifndef SMARTENGINE_TABLE_STATE_H
#define SMARTENGINE_TABLE_STATE_H

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "codec/table_codec.h"
#include "codec/table_def.h"
#include "compat.h"
#include "table/table_stats.h"

namespace smartengine {

/// A number that only grows, given out in ranges; 0 until it is loaded.
class Counter {
 public:
  bool loaded() const { return m_next.load(std::memory_order_acquire) != 0; }
  uint64_t next() const { return m_next.load(std::memory_order_acquire); }
  /// Makes the next number at least `next`.
  void raise(uint64_t next);
  /// Takes one number.
  uint64_t take() { return m_next.fetch_add(1, std::memory_order_relaxed); }
  /// Replaces `expected`, the number last seen, by `next`; on failure stores what is there.
  bool exchange(uint64_t *expected, uint64_t next) { return m_next.compare_exchange_weak(*expected, next, std::memory_order_acq_rel); }

 private:
  std::atomic<uint64_t> m_next{0};
};

class TableState {
 public:
  TableState(TableDef def, bool temporary) : m_def(std::move(def)), m_temporary(temporary) {}

  const TableDef &def() const { return m_def; }
  uint64_t id() const { return m_def.table_id; }
  bool is_temporary() const { return m_temporary; }
  std::vector<uint32_t> index_ids() const;

  /// The first snapshot that sees the table's rows: an older one would take it for empty. 0 if it has been there since before any snapshot.
  std::atomic<uint64_t> visible_from{0};
  Counter auto_increment;
  Counter row_id;
  std::mutex loading;  ///< Held while a counter is loaded.
  TableStats stats;

 private:
  const TableDef m_def;
  const bool m_temporary;
};

class TableShare : public Handler_share {
 public:
  TableShare(std::shared_ptr<TableState> state, std::unique_ptr<TableCodec> codec) : m_state(std::move(state)), m_codec(std::move(codec)) {}

  TableState &state() { return *m_state; }
  const TableCodec &codec() const { return *m_codec; }
  /// Goes over to the same table with new indexes.
  void replace(std::shared_ptr<TableState> state, std::unique_ptr<TableCodec> codec);

 private:
  std::shared_ptr<TableState> m_state;
  std::unique_ptr<TableCodec> m_codec;
};

}  // namespace smartengine

#endif  // SMARTENGINE_TABLE_STATE_H
