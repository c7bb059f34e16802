// A foreign key as the server's dictionary describes it.

#ifndef SMARTENGINE_FOREIGN_KEY_H
#define SMARTENGINE_FOREIGN_KEY_H

#include <string>
#include <vector>

#include "compat.h"
#include "sql/dd/types/foreign_key.h"

class String;

namespace dd {
class Table;
}

namespace smartengine::foreign {

/// A table's name, as the server compares it.
struct TableName {
  std::string schema;
  std::string table;

  bool operator==(const TableName &other) const;
};

TableName name_of(const TABLE_SHARE &share);

using Rule = dd::Foreign_key::enum_rule;

struct Key {
  std::string name;
  TableName child;
  TableName parent;
  std::vector<std::string> child_columns;
  std::vector<std::string> parent_columns;  ///< In the order of the child's.
  Rule on_delete = Rule::RULE_NO_ACTION;
  Rule on_update = Rule::RULE_NO_ACTION;

  /// The constraint as an error names it, from the child's name on.
  void describe(const THD *thd, String *text) const;
};

/// Whether the rule changes the child's rows; otherwise it refuses the change of the parent's.
bool acts(Rule rule);

/// What foreign keys a table has, and which tables refer to it.
struct Relations {
  std::vector<Key> own;
  std::vector<TableName> children;  ///< Each once.

  bool empty() const { return own.empty() && children.empty(); }
};

/// The foreign keys of a child, in the order of their names.
std::vector<Key> keys_of(const dd::Table &table, const TableName &name);

Relations relations_of(const dd::Table &table, const TableName &name);

}  // namespace smartengine::foreign

#endif  // SMARTENGINE_FOREIGN_KEY_H
