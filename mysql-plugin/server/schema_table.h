// What tables of information_schema are made of: their fields, and rows that are filled in.

#ifndef SMARTENGINE_SCHEMA_TABLE_H
#define SMARTENGINE_SCHEMA_TABLE_H

#include <string>

#include "compat.h"
#include "mysql/plugin.h"
#include "sql/sql_show.h"
#include "sql/tztime.h"

namespace smartengine::schema_table {

/// For the plugins' declarations.
inline int descriptor = MYSQL_INFORMATION_SCHEMA_INTERFACE_VERSION;

inline ST_FIELD_INFO number(const char *name) {
  return {name, MY_INT64_NUM_DECIMAL_DIGITS, MYSQL_TYPE_LONGLONG, 0, MY_I_S_UNSIGNED, "", 0};
}
inline ST_FIELD_INFO text(const char *name, uint length, bool nullable = false) {
  return {name, length, MYSQL_TYPE_STRING, 0, nullable ? uint{MY_I_S_MAYBE_NULL} : 0U, "", 0};
}
inline ST_FIELD_INFO time(const char *name, bool nullable = false) {
  return {name, 0, MYSQL_TYPE_DATETIME, 0, nullable ? uint{MY_I_S_MAYBE_NULL} : 0U, "", 0};
}
inline ST_FIELD_INFO end() { return {nullptr, 0, MYSQL_TYPE_NULL, 0, 0, nullptr, 0}; }

/// The fields of a row of such a table, stored in their order.
class Row {
 public:
  explicit Row(TABLE *table) : m_field(table->field) {}

  Row &add(uint64_t value) {
    (*m_field)->store(static_cast<longlong>(value), true);
    return next();
  }
  Row &add(const std::string &value) {
    (*m_field)->store(value.data(), value.size(), system_charset_info);
    return next();
  }
  Row &add_time(THD *thd, uint64_t seconds) {
    MYSQL_TIME time;
    thd->time_zone()->gmt_sec_to_TIME(&time, static_cast<my_time_t>(seconds));
    (*m_field)->store_time(&time);
    return next();
  }
  Row &add_null() {
    (*m_field)->set_null();
    ++m_field;
    return *this;
  }

 private:
  Row &next() {
    (*m_field)->set_notnull();
    ++m_field;
    return *this;
  }

  Field **m_field;
};

}  // namespace smartengine::schema_table

#endif  // SMARTENGINE_SCHEMA_TABLE_H
