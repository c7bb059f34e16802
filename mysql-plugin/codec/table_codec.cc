#include "codec/table_codec.h"

#include <cstring>

namespace smartengine {

std::unique_ptr<TableCodec> TableCodec::create(const TABLE_SHARE &share, const TableDef &def, std::string *why) {
  if (!def.matches(share, why)) return nullptr;
  auto codec = std::make_unique<TableCodec>();
  if (!codec->m_row.init(share, def.schema_version, why)) return nullptr;
  codec->m_key_count = share.keys;
  codec->m_indexes.resize(def.indexes.size());
  for (uint i = 0; i < share.keys; ++i) {
    if (!codec->m_indexes[i].init(share, i, *def.find_index(share.key_info[i].name), why)) return nullptr;
  }
  if (share.primary_key == MAX_KEY) {
    codec->m_row_index = share.keys;
    codec->m_ref_length = kHiddenRowIdSize;
    if (!codec->m_indexes.back().init(share, share.keys, def.row_index(), why)) return nullptr;
  } else {
    codec->m_row_index = share.primary_key;
    for (const KeyPartCodec &part : codec->row_index().parts()) codec->m_ref_length += part.image_size();
  }
  for (uint i = 0; i < share.keys; ++i) {
    if (i != codec->m_row_index) codec->m_indexes[i].extend(share, i, codec->row_index());
  }
  return codec;
}

void TableCodec::make_ref(TABLE *table, const uchar *record, uint64_t hidden_row_id, uchar *ref) const {
  if (has_hidden_row_id()) {
    store_be64(ref, hidden_row_id);
  } else {
    key_copy(ref, record, table->key_info + m_row_index, m_ref_length);
  }
}

int TableCodec::encode_ref(const uchar *ref, ByteBuffer *key) const {
  if (has_hidden_row_id()) return row_index().encode_row_key(nullptr, load_be64(ref), key);
  return row_index().encode_search(ref, make_prev_keypart_map(static_cast<uint>(row_index().parts().size())), key);
}

int TableCodec::compare_refs(const uchar *a, const uchar *b) const {
  if (has_hidden_row_id()) return memcmp(a, b, kHiddenRowIdSize);
  for (const KeyPartCodec &part : row_index().parts()) {
    const int order = part.compare_images(a, b);
    if (order != 0) return order;
    a += part.image_size();
    b += part.image_size();
  }
  return 0;
}

bool TableCodec::hidden_row_id_of_key(Slice key, uint64_t *row_id) {
  if (key.size != kIndexIdSize + kHiddenRowIdSize) return false;
  *row_id = load_be64(key.data + kIndexIdSize);
  return true;
}

bool TableCodec::hidden_row_id_of_entry(Slice key, Slice value, uint64_t *row_id) {
  Slice row_key;
  if (!IndexCodec::row_key_of_entry(key, value, &row_key) || row_key.size != kHiddenRowIdSize) return false;
  *row_id = load_be64(row_key.data);
  return true;
}

}  // namespace smartengine
