#include "table/table_state.h"

#include <utility>

namespace smartengine {

void Counter::raise(uint64_t next) {
  uint64_t seen = m_next.load(std::memory_order_acquire);
  while (seen < next && !m_next.compare_exchange_weak(seen, next, std::memory_order_acq_rel)) {
  }
}

std::vector<uint32_t> TableState::index_ids() const {
  std::vector<uint32_t> ids;
  ids.reserve(m_def.indexes.size());
  for (const IndexDef &index : m_def.indexes) ids.push_back(index.index_id);
  return ids;
}

void TableShare::replace(std::shared_ptr<TableState> state, std::unique_ptr<TableCodec> codec) {
  m_state = std::move(state);
  m_codec = std::move(codec);
}

}  // namespace smartengine
