#include "table/foreign_key.h"

#include <algorithm>

#include "mysql/strings/m_ctype.h"
#include "sql/dd/types/column.h"
#include "sql/dd/types/foreign_key_element.h"
#include "sql/dd/types/table.h"
#include "sql/mysqld.h"
#include "sql/sql_show.h"
#include "sql_string.h"

namespace smartengine::foreign {

namespace {

bool same_name(const std::string &a, const std::string &b) { return my_strcasecmp(table_alias_charset, a.c_str(), b.c_str()) == 0; }

std::string text_of(const dd::String_type &text) { return {text.data(), text.size()}; }

void append_names(const THD *thd, const std::vector<std::string> &names, String *text) {
  text->append(STRING_WITH_LEN(" ("));
  for (size_t i = 0; i < names.size(); ++i) {
    if (i != 0) text->append(STRING_WITH_LEN(", "));
    append_identifier(thd, text, names[i].data(), names[i].size());
  }
  text->append(')');
}

void append_rule(const char *event, Rule rule, String *text) {
  const char *action = nullptr;
  switch (rule) {
    case Rule::RULE_RESTRICT:
      action = "RESTRICT";
      break;
    case Rule::RULE_CASCADE:
      action = "CASCADE";
      break;
    case Rule::RULE_SET_NULL:
      action = "SET NULL";
      break;
    // InnoDB names neither.
    case Rule::RULE_SET_DEFAULT:
    case Rule::RULE_NO_ACTION:
      return;
  }
  text->append(event, strlen(event));
  text->append(action, strlen(action));
}

}  // namespace

bool TableName::operator==(const TableName &other) const { return same_name(schema, other.schema) && same_name(table, other.table); }

TableName name_of(const TABLE_SHARE &share) { return {{share.db.str, share.db.length}, {share.table_name.str, share.table_name.length}}; }

bool acts(Rule rule) { return rule == Rule::RULE_CASCADE || rule == Rule::RULE_SET_NULL; }

void Key::describe(const THD *thd, String *text) const {
  append_identifier(thd, text, child.schema.data(), child.schema.size());
  text->append('.');
  append_identifier(thd, text, child.table.data(), child.table.size());
  text->append(STRING_WITH_LEN(", CONSTRAINT "));
  append_identifier(thd, text, name.data(), name.size());
  text->append(STRING_WITH_LEN(" FOREIGN KEY"));
  append_names(thd, child_columns, text);
  text->append(STRING_WITH_LEN(" REFERENCES "));
  if (!same_name(child.schema, parent.schema)) {
    append_identifier(thd, text, parent.schema.data(), parent.schema.size());
    text->append('.');
  }
  append_identifier(thd, text, parent.table.data(), parent.table.size());
  append_names(thd, parent_columns, text);
  append_rule(" ON DELETE ", on_delete, text);
  append_rule(" ON UPDATE ", on_update, text);
}

std::vector<Key> keys_of(const dd::Table &table, const TableName &name) {
  std::vector<Key> keys;
  for (const dd::Foreign_key *described : table.foreign_keys()) {
    Key key;
    key.name = text_of(described->name());
    key.child = name;
    key.parent = {text_of(described->referenced_table_schema_name()), text_of(described->referenced_table_name())};
    for (const dd::Foreign_key_element *element : described->elements()) {
      key.child_columns.push_back(text_of(element->column().name()));
      key.parent_columns.push_back(text_of(element->referenced_column_name()));
    }
    key.on_delete = described->delete_rule();
    key.on_update = described->update_rule();
    keys.push_back(std::move(key));
  }
  std::sort(keys.begin(), keys.end(), [](const Key &a, const Key &b) { return a.name < b.name; });
  return keys;
}

Relations relations_of(const dd::Table &table, const TableName &name) {
  Relations relations;
  relations.own = keys_of(table, name);
  for (const dd::Foreign_key_parent *child : table.foreign_key_parents()) {
    TableName child_name{text_of(child->child_schema_name()), text_of(child->child_table_name())};
    std::vector<TableName> &all = relations.children;
    if (std::find(all.begin(), all.end(), child_name) == all.end()) all.push_back(std::move(child_name));
  }
  return relations;
}

}  // namespace smartengine::foreign
