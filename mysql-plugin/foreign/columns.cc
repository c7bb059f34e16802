#include "foreign/columns.h"

#include "sql/dd/types/column.h"

namespace smartengine::foreign {

namespace {

using Type = dd::enum_column_types;

/// What a column's values are to an index.
enum class Kind : uint8_t { kInteger, kFloat, kDouble, kText, kBytes, kPacked };

struct Column {
  Kind kind;
  size_t size = 0;  ///< Of an integer.
  bool is_unsigned = false;
};

Column integer(size_t size, bool is_unsigned) { return {Kind::kInteger, size, is_unsigned}; }

Column describe(const Ha_fk_column_type &column) {
  switch (column.type) {
    case Type::TINY:
      return integer(1, column.is_unsigned);
    case Type::SHORT:
      return integer(2, column.is_unsigned);
    case Type::INT24:
      return integer(3, column.is_unsigned);
    case Type::LONG:
      return integer(4, column.is_unsigned);
    case Type::LONGLONG:
      return integer(8, column.is_unsigned);
    case Type::YEAR:
      return integer(1, true);
    case Type::NEWDATE:
    case Type::DATE:
      return integer(3, true);
    case Type::ENUM:
      return integer(column.elements_count < 256 ? 1 : 2, true);
    case Type::SET: {
      const size_t bytes = (column.elements_count + 7) / 8;
      return integer(bytes > 4 ? 8 : bytes, true);
    }
    case Type::FLOAT:
      return {Kind::kFloat};
    case Type::DOUBLE:
      return {Kind::kDouble};
    case Type::STRING:
    case Type::VAR_STRING:
    case Type::VARCHAR:
    case Type::TINY_BLOB:
    case Type::MEDIUM_BLOB:
    case Type::LONG_BLOB:
    case Type::BLOB:
      return {column.field_charset == &my_charset_bin ? Kind::kBytes : Kind::kText};
    default:
      return {Kind::kPacked};
  }
}

}  // namespace

bool can_refer(const Ha_fk_column_type *child, const Ha_fk_column_type *parent, bool check_charsets) {
  const Column of_child = describe(*child);
  const Column of_parent = describe(*parent);
  if (of_child.kind != of_parent.kind) return false;
  switch (of_child.kind) {
    case Kind::kInteger:
      return of_child.size == of_parent.size && of_child.is_unsigned == of_parent.is_unsigned;
    case Kind::kText:
      return !check_charsets || child->field_charset == parent->field_charset;
    case Kind::kPacked:
      return child->type == parent->type;
    default:
      return true;
  }
}

}  // namespace smartengine::foreign
