#include "foreign/link.h"

#include <algorithm>
#include <optional>

#include "base/error_map.h"
#include "my_sys.h"
#include "mysqld_error.h"
#include "sql/dd/cache/dictionary_client.h"
#include "sql/dd/types/column.h"
#include "sql/dd/types/table.h"
#include "sql/dd_table_share.h"
#include "sql/sql_base.h"
#include "table/dictionary.h"

namespace smartengine::foreign {

namespace {

/// As the server names the engine in its dictionary.
constexpr const char *kEngine = "SMARTENGINE";

using Fields = std::vector<uint>;

bool is_ours(const dd::Table &table) { return my_strcasecmp(system_charset_info, table.engine().c_str(), kEngine) == 0; }

bool same_column(const char *a, const std::string &b) { return my_strcasecmp(system_charset_info, a, b.c_str()) == 0; }

std::string quoted(const TableName &name) { return '`' + name.schema + "`.`" + name.table + '`'; }

/// Where columns of these names are in a record; fewer if one is not there.
Fields fields_of(const TABLE_SHARE &share, const std::vector<std::string> &columns) {
  Fields fields;
  for (const std::string &column : columns) {
    for (uint i = 0; i < share.fields; ++i) {
      if (same_column(share.field[i]->field_name, column)) fields.push_back(i);
    }
  }
  return fields;
}

Fields fields_of(const dd::Table &table, const std::vector<std::string> &columns) {
  Fields fields;
  for (const std::string &name : columns) {
    uint place = 0;
    for (const dd::Column *column : table.columns()) {
      if (column->is_se_hidden()) continue;
      if (same_column(column->name().c_str(), name)) fields.push_back(place);
      ++place;
    }
  }
  return fields;
}

/// An index that starts with whole columns in this order, at best a unique one of just them.
std::optional<uint> find_index(const TableCodec &codec, const Fields &fields) {
  std::optional<uint> found;
  for (uint i = 0; i < codec.index_count(); ++i) {
    const std::vector<KeyPartCodec> &parts = codec.index(i).parts();
    if (parts.size() < fields.size()) continue;
    const auto fits = [](uint field, const KeyPartCodec &part) { return part.field_index() == field && part.covers_column(); };
    if (!std::equal(fields.begin(), fields.end(), parts.begin(), fits)) continue;
    if (parts.size() == fields.size() && codec.index(i).kind() != IndexKind::kSecondary) return i;
    if (!found) found = i;
  }
  return found;
}

/// The codecs of a table that may not be open anywhere.
int codec_of(THD *thd, const TableName &name, const dd::Table &table, std::shared_ptr<const TableCodec> *codec) {
  std::shared_ptr<TableState> state;
  int error = dictionary::find(table.se_private_id(), &state);
  if (error != 0) return error;
  *codec = state->codec();
  if (*codec != nullptr) return 0;
  TABLE_SHARE share;
  init_tmp_table_share(thd, &share, name.schema.c_str(), name.schema.size() + 1, name.table.c_str(), "", nullptr);
  std::string why = "the server cannot open its definition";
  if (open_table_def_suppress_invalid_meta_data(thd, &share, table) == 0) *codec = TableCodec::create(share, state->def(), &why);
  free_table_share(&share);
  if (*codec == nullptr) return own_error(kErrorInternal, "table " + quoted(name) + ": " + why);
  state->set_codec(*codec);
  return 0;
}

/// Completes a link to the table in which the columns are. Without table or index it stays without `other`.
int find_other(THD *thd, const TableName &name, const dd::Table &table, const std::vector<std::string> &columns, Link *link) {
  std::shared_ptr<const TableCodec> codec;
  if (const int error = codec_of(thd, name, table, &codec); error != 0) return error;
  const Fields fields = fields_of(table, columns);
  if (fields.size() != columns.size()) return 0;
  const std::optional<uint> index = find_index(*codec, fields);
  if (!index) return 0;
  link->index = *index;
  const IndexCodec &found = codec->index(*index);
  link->finds_one = found.kind() != IndexKind::kSecondary && found.parts().size() == fields.size();
  link->other = std::move(codec);
  return 0;
}

bool find_own(const TABLE_SHARE &share, const TableCodec &codec, const std::vector<std::string> &columns, Link *link) {
  const Fields fields = fields_of(share, columns);
  if (fields.size() != columns.size()) return false;
  const std::optional<uint> index = find_index(codec, fields);
  if (!index) return false;
  for (size_t i = 0; i < fields.size(); ++i) link->own.push_back(&codec.index(*index).parts()[i]);
  return true;
}

int refuse_other_engine(const Key &key, const TableName &name, const dd::Table &table) {
  return own_error(kErrorInternal, "foreign key `" + key.name + "`: table " + quoted(name) + " is one of " + table.engine().c_str() +
                                       ", and both tables of a foreign key have to be of SMARTENGINE");
}

int find_parent(THD *thd, const TABLE_SHARE &share, const TableCodec &own, const Key &key, Links *links) {
  int error = lock_name(thd, key.parent, MDL_SHARED_READ);
  if (error != 0) return error;
  Link link;
  link.key = key;
  if (!find_own(share, own, key.child_columns, &link))
    return own_error(kErrorInternal, "foreign key `" + key.name + "`: the index of its columns is gone: add one");
  const dd::cache::Dictionary_client::Auto_releaser releaser(thd->dd_client());
  const dd::Table *table = nullptr;
  if (thd->dd_client()->acquire(key.parent.schema.c_str(), key.parent.table.c_str(), &table)) return kErrorRaised;
  if (table != nullptr) {
    if (!is_ours(*table)) return refuse_other_engine(key, key.parent, *table);
    error = find_other(thd, key.parent, *table, key.parent_columns, &link);
  }
  links->parents.push_back(std::move(link));
  return error;
}

int find_child(THD *thd, const TABLE_SHARE &share, const TableCodec &own, const TableName &name, const TableName &child, Links *links) {
  int error = lock_name(thd, child, MDL_SHARED_READ);
  if (error != 0) return error;
  const dd::cache::Dictionary_client::Auto_releaser releaser(thd->dd_client());
  const dd::Table *table = nullptr;
  if (thd->dd_client()->acquire(child.schema.c_str(), child.table.c_str(), &table)) return kErrorRaised;
  if (table == nullptr) return 0;
  for (Key &key : keys_of(*table, child)) {
    if (!(key.parent == name)) continue;
    if (!is_ours(*table)) return refuse_other_engine(key, child, *table);
    Link link;
    // Without the index that the children's values are looked for by, no child can have been inserted.
    if (!find_own(share, own, key.parent_columns, &link)) continue;
    error = find_other(thd, child, *table, key.child_columns, &link);
    if (error == 0 && link.other == nullptr)
      error =
          own_error(kErrorInternal, "foreign key `" + key.name + "`: the index of its columns in " + quoted(child) + " is gone: add one");
    if (error != 0) return error;
    link.key = std::move(key);
    links->children.push_back(std::move(link));
  }
  return 0;
}

}  // namespace

int lock_name(THD *thd, const TableName &name, enum_mdl_type type) {
  MDL_request request;
  MDL_REQUEST_INIT(&request, MDL_key::TABLE, name.schema.c_str(), name.table.c_str(), type, MDL_TRANSACTION);
  return thd->mdl_context.acquire_lock(&request, thd->variables.lock_wait_timeout) ? kErrorRaised : 0;
}

bool Link::has_null(const uchar *record) const {
  return std::any_of(own.begin(), own.end(), [record](const KeyPartCodec *part) { return part->is_null(record); });
}

bool Link::same(const uchar *a, const uchar *b) const {
  return std::all_of(own.begin(), own.end(), [a, b](const KeyPartCodec *part) { return part->is_same(a, b); });
}

int find_links(THD *thd, const TABLE_SHARE &share, const TableCodec &own, const Relations &relations, Links *links) {
  const TableName name = name_of(share);
  for (const Key &key : relations.own) {
    if (const int error = find_parent(thd, share, own, key, links); error != 0) return error;
  }
  for (const TableName &child : relations.children) {
    if (const int error = find_child(thd, share, own, name, child, links); error != 0) return error;
  }
  // As InnoDB takes them in turn.
  std::stable_sort(links->children.begin(), links->children.end(), [](const Link &a, const Link &b) {
    return a.key.child.schema != b.key.child.schema ? a.key.child.schema < b.key.child.schema : a.key.name < b.key.name;
  });
  return 0;
}

int check_parents(THD *thd, const dd::Table &table, const TableName &name) {
  const dd::cache::Dictionary_client::Auto_releaser releaser(thd->dd_client());
  for (const Key &key : keys_of(table, name)) {
    const dd::Table *parent = nullptr;
    if (thd->dd_client()->acquire(key.parent.schema.c_str(), key.parent.table.c_str(), &parent)) return kErrorRaised;
    // One that is made later has its columns compared then.
    if (parent == nullptr || is_ours(*parent)) continue;
    refuse_other_engine(key, key.parent, *parent);
    my_printf_error(ER_CANNOT_ADD_FOREIGN, "Cannot add foreign key constraint: %s", MYF(0), last_error_message().c_str());
    return kErrorRaised;
  }
  return 0;
}

}  // namespace smartengine::foreign
