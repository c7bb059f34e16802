#include <utility>

#include "base/error_map.h"
#include "handler/ha_smartengine.h"
#include "mysql/plugin.h"
#include "sql/sql_lex.h"

// Foreign keys, as the engine itself enforces them: always on a server that does not, otherwise in sessions for which it does not
// (`checks_foreign_keys` is the one place that says so).
//
// A row is changed first and then held against its foreign keys, so that a row which refers to itself is no special case; what is not allowed is undone
// to the point before the row, as IGNORE and handlers of stored programs go on after it. The two sides meet at the parent's row: who inserts a child
// locks it shared, in its newest version, to the end of the transaction, and who deletes it or changes what is referred to has locked it exclusively
// before looking for children. So whichever comes second sees what the first did, or waits until that is decided, at every isolation level and without
// locks on gaps. Children are looked for with locks too: one whose removal is not committed is still one.
//
// CASCADE and SET NULL change the children through handlers of their own, which hold the changed rows against their foreign keys in turn. The handlers
// stay open to the end of the statement, one for each constraint and level, since each level is in the midst of a scan.

namespace smartengine {

namespace {

constexpr uint kKillCheckInterval = 256;

/// Whether a change higher up updates the table; to update it once more could go on forever.
template <typename Cascade>
bool is_updated_above(const Cascade *cascade, uint64_t table_id) {
  for (; cascade != nullptr; cascade = cascade->above) {
    if (cascade->updates && cascade->table_id == table_id) return true;
  }
  return false;
}

}  // namespace

bool ha_smartengine::checks_foreign_keys() const {
  if (m_share->relations().empty() || thd_test_options(ha_thd(), OPTION_NO_FOREIGN_KEY_CHECKS)) return false;
  return !server_checks_foreign_keys(ha_thd());
}

uint64_t ha_smartengine::before_row() { return checks_foreign_keys() ? m_trx->savepoint() : 0; }

int ha_smartengine::foreign_keys_allow(uint64_t before, const uchar *old_record, const uchar *new_record) {
  if (!checks_foreign_keys()) return 0;
  const int error = check_foreign_keys(old_record, new_record);
  // A transaction that is lost as a whole is rolled back by the server.
  if (error == 0 || !m_trx->active()) return error;
  const int undone = m_trx->rollback_to(before);
  return undone != 0 ? undone : error;
}

int ha_smartengine::check_foreign_keys(const uchar *old_record, const uchar *new_record) {
  if (!m_links) {
    foreign::Links links;
    const int error = foreign::find_links(ha_thd(), *table_share, codec(), m_share->relations(), &links);
    if (error != 0) return error;
    m_links = std::move(links);
  }
  m_cascade.table_id = state().id();
  m_cascade.updates = old_record != nullptr && new_record != nullptr;
  if (old_record != nullptr) {
    for (const foreign::Link &link : m_links->children) {
      if (link.has_null(old_record) || (new_record != nullptr && link.same(old_record, new_record))) continue;
      if (const int error = check_children(link, old_record, new_record); error != 0) return error;
    }
  }
  if (new_record == nullptr) return 0;
  for (const foreign::Link &link : m_links->parents) {
    if (link.has_null(new_record) || (old_record != nullptr && link.same(old_record, new_record))) continue;
    // The parent's change is what set it.
    if (m_cascade.key != nullptr && m_cascade.key->name == link.key.name) continue;
    if (const int error = check_parent(link, new_record); error != 0) return error;
  }
  return 0;
}

int ha_smartengine::check_parent(const foreign::Link &link, const uchar *record) {
  bool found = false;
  const int error = link.other == nullptr ? 0 : find_linked(link, record, &found);
  if (error != 0) return error;
  return found ? 0 : violated(link.key, HA_ERR_NO_REFERENCED_ROW);
}

int ha_smartengine::check_children(const foreign::Link &link, const uchar *old_record, const uchar *new_record) {
  if (foreign::acts(new_record == nullptr ? link.key.on_delete : link.key.on_update)) return act_on_children(link, old_record, new_record);
  bool found = false;
  const int error = find_linked(link, old_record, &found);
  if (error != 0) return error;
  return found ? violated(link.key, HA_ERR_ROW_IS_REFERENCED) : 0;
}

/// Whether the other table has a row with the record's values, which is then locked.
int ha_smartengine::find_linked(const foreign::Link &link, const uchar *record, bool *found) {
  const IndexCodec &index = link.other_index();
  bool fits = true;
  int error = index.encode_search_of(link.own, record, &m_lower, &fits);
  if (error != 0 || !fits) return error;
  if (!m_linked) m_linked.emplace(ffi::reader_create(engine()));
  const uint32_t row_index = index.is_row_index() ? 0 : link.other->row_index().index_id();
  const ffi::ReadSpec spec{ffi::LockMode::Shared, ffi::LockWait::Wait, row_index};
  ffi::Entry entry{};
  ffi::Status status{};
  if (link.finds_one) {
    status = ffi::reader_get(**m_linked, txn(), bytes(m_lower.slice()), spec, entry);
  } else {
    if (!m_upper.assign(m_lower.slice())) return HA_ERR_OUT_OF_MEM;
    if (!prefix_successor(&m_upper)) return own_error(kErrorInternal, "a search key without end");
    status = ffi::reader_open(**m_linked, txn(), bytes(m_lower.slice()), bytes(m_upper.slice()), spec);
    if (ok(status)) status = ffi::reader_seek(**m_linked, txn(), ffi::Seek::First, {}, entry);
  }
  *found = ok(status);
  error = status.code == ffi::Code::NotFound ? 0 : failed(status);
  ffi::reader_close(**m_linked);
  return error;
}

int ha_smartengine::open_child(const foreign::Link &link, ha_smartengine **child) {
  for (OpenChild &open : m_children) {
    if (open.link != &link) continue;
    *child = &open.table->file();
    return 0;
  }
  std::unique_ptr<ChildTable> table;
  const int error = ChildTable::open(ha_thd(), link.key.child, &table);
  if (error != 0) return error;
  *child = &table->file();
  (*child)->m_cascade = {&m_cascade, &link.key, 0, false, m_cascade.depth + 1};
  m_children.push_back({&link, std::move(table)});
  return 0;
}

int ha_smartengine::act_on_children(const foreign::Link &link, const uchar *old_record, const uchar *new_record) {
  bool fits = true;
  ByteBuffer prefix;
  int error = link.other_index().encode_search_of(link.own, old_record, &prefix, &fits);
  if (error != 0 || !fits) return error;
  ha_smartengine *child = nullptr;
  error = open_child(link, &child);
  if (error != 0) return error;
  const bool deletes = new_record == nullptr && link.key.on_delete == foreign::Rule::RULE_CASCADE;
  uint rows = 0;
  error = child->first_of_prefix(link.index, prefix.slice());
  for (; error == 0; error = child->next_of_prefix()) {
    if (!deletes && is_updated_above(&m_cascade, child->state().id())) {
      error = violated(link.key, HA_ERR_ROW_IS_REFERENCED);
    } else if (child->m_cascade.depth >= kDeepestCascade) {
      error = HA_ERR_FK_DEPTH_EXCEEDED;
    } else {
      error = deletes ? child->delete_row(child->table->record[0]) : act_on_child(link, new_record, child);
    }
    if (error != 0) break;
    if (++rows % kKillCheckInterval == 0 && interrupted()) error = HA_ERR_QUERY_INTERRUPTED;
    if (error != 0) break;
  }
  child->ha_index_end();
  if (error == HA_ERR_END_OF_FILE || error == HA_ERR_KEY_NOT_FOUND) return 0;
  if (error == HA_ERR_FOUND_DUPP_KEY) {
    m_child_table.assign(child->table_share->table_name.str, child->table_share->table_name.length);
    m_child_key = child->m_duplicate_key < child->table_share->keys ? child->table->key_info[child->m_duplicate_key].name : "";
    return HA_ERR_FOREIGN_DUPLICATE_KEY;
  }
  // What a change further down found.
  if (!child->m_violated.empty()) m_violated = std::exchange(child->m_violated, {});
  if (error == HA_ERR_FOREIGN_DUPLICATE_KEY) {
    m_child_table = child->m_child_table;
    m_child_key = child->m_child_key;
  }
  return error;
}

/// Sets the columns of the child's row that was read to NULL, or to what the parent's new record has.
int ha_smartengine::act_on_child(const foreign::Link &link, const uchar *new_record, ha_smartengine *child) {
  TABLE &table = *child->table;
  store_record(&table, record[1]);
  const bool nulls = new_record == nullptr || link.key.on_update == foreign::Rule::RULE_SET_NULL;
  if (nulls) {
    for (size_t i = 0; i < link.own.size(); ++i) table.field[link.other_index().parts()[i].field_index()]->set_null();
  } else if (const int error = follow_parent(link, new_record, child); error != 0) {
    return error;
  }
  if (table.vfield != nullptr && update_generated_write_fields(&table.s->all_set, &table))
    return ha_thd()->is_error() ? kErrorRaised : HA_ERR_GENERIC;
  const int error = child->update_row(table.record[1], table.record[0]);
  return error == HA_ERR_RECORD_IS_THE_SAME ? 0 : error;
}

int ha_smartengine::follow_parent(const foreign::Link &link, const uchar *new_record, ha_smartengine *child) {
  const std::vector<KeyPartCodec> &parts = link.other_index().parts();
  for (size_t i = 0; i < link.own.size(); ++i) {
    Field *const to = child->table->field[parts[i].field_index()];
    if (link.own[i]->is_null(new_record)) {
      if (!to->is_nullable()) return violated(link.key, HA_ERR_ROW_IS_REFERENCED);
      to->set_null();
      continue;
    }
    to->set_notnull();
    const Slice value = link.own[i]->bytes_in(new_record);
    if (!parts[i].is_text()) {
      // Of the same type, or bytes that would not match.
      if (value.size != to->pack_length()) return violated(link.key, HA_ERR_ROW_IS_REFERENCED);
      memcpy(to->field_ptr(), value.data, value.size);
      continue;
    }
    const enum_check_fields kept = ha_thd()->check_for_truncated_fields;
    ha_thd()->check_for_truncated_fields = CHECK_FIELD_IGNORE;
    const bool fits = to->charset()->cset->numchars(to->charset(), pointer_cast<const char *>(value.data),
                                                    pointer_cast<const char *>(value.data) + value.size) <= to->char_length();
    to->store(pointer_cast<const char *>(value.data), value.size, to->charset());
    ha_thd()->check_for_truncated_fields = kept;
    if (!fits) return violated(link.key, HA_ERR_ROW_IS_REFERENCED);
  }
  return 0;
}

/// Reads the first entry's row into record[0], with all of its columns.
int ha_smartengine::first_of_prefix(uint key_number, Slice prefix) {
  int error = enter();
  if (error == 0) error = ha_index_init(key_number, true);
  if (error != 0) return error;
  m_clipped = false;
  if (!m_prefix.assign(prefix)) return HA_ERR_OUT_OF_MEM;
  error = open_index_scan(true, true);
  if (error == 0) error = seek(ffi::Seek::First, {}, true, table->record[0]);
  return error != 0 ? error : make_virtual_columns(table->record[0]);
}

int ha_smartengine::next_of_prefix() {
  const int error = step(true, table->record[0]);
  return error != 0 ? error : make_virtual_columns(table->record[0]);
}

int ha_smartengine::violated(const foreign::Key &key, int error) {
  String text;
  key.describe(ha_thd(), &text);
  m_violated.assign(text.ptr(), text.length());
  return error;
}

bool ha_smartengine::get_foreign_dup_key(char *table_name, uint table_name_size, char *key_name, uint key_name_size) {
  if (m_child_table.empty()) return false;
  snprintf(table_name, table_name_size, "%s", m_child_table.c_str());
  snprintf(key_name, key_name_size, "%s", m_child_key.c_str());
  return true;
}

}  // namespace smartengine
