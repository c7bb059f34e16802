// A table that is opened beside those of a statement, to change the rows that refer to a row of one of them.

#ifndef SMARTENGINE_CHILD_TABLE_H
#define SMARTENGINE_CHILD_TABLE_H

#include <memory>
#include <string>

#include "compat.h"
#include "table/foreign_key.h"

namespace smartengine {

class ha_smartengine;

class ChildTable {
 public:
  /// Locks the table's name and opens it. 0 or an error number.
  static int open(THD *thd, const foreign::TableName &name, std::unique_ptr<ChildTable> *opened);
  ~ChildTable();
  ChildTable(const ChildTable &) = delete;
  ChildTable &operator=(const ChildTable &) = delete;

  TABLE &table() { return m_table; }
  ha_smartengine &file();

 private:
  explicit ChildTable(foreign::TableName name) : m_name(std::move(name)) {}

  const foreign::TableName m_name;
  TABLE_SHARE m_share;
  TABLE m_table;
  bool m_is_open = false;
};

}  // namespace smartengine

#endif  // SMARTENGINE_CHILD_TABLE_H
