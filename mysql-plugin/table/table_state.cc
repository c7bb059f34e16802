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

std::shared_ptr<const TableCodec> TableState::codec() const {
  const std::lock_guard<std::mutex> guard(m_codec_mutex);
  return m_codec;
}

void TableState::set_codec(std::shared_ptr<const TableCodec> codec) {
  const std::lock_guard<std::mutex> guard(m_codec_mutex);
  m_codec = std::move(codec);
}

TableShare::TableShare(std::shared_ptr<TableState> state, std::unique_ptr<TableCodec> codec, foreign::Relations relations)
    : m_state(std::move(state)), m_codec(std::move(codec)), m_relations(std::move(relations)) {
  m_state->set_codec(m_codec);
}

void TableShare::replace(std::shared_ptr<TableState> state, std::unique_ptr<TableCodec> codec) {
  m_state = std::move(state);
  m_codec = std::move(codec);
  m_state->set_codec(m_codec);
}

}  // namespace smartengine
