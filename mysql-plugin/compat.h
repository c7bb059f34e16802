// The server's headers, and the differences between its versions 8.0.35 to 9.7. Every test of MYSQL_VERSION_ID and
// every
// __has_include of this plugin stands here; the other files read as if there were one server.

#ifndef SMARTENGINE_COMPAT_H
#define SMARTENGINE_COMPAT_H

#include "my_base.h"
#include "my_bitmap.h"
#include "my_inttypes.h"
#include "mysql_version.h"

// Character sets.
#if __has_include("mysql/strings/m_ctype.h")
#include "mysql/strings/m_ctype.h"
#else
#include "m_ctype.h"
#endif

#if __has_include("mysql/my_loglevel.h")
#include "mysql/my_loglevel.h"
#else
#include "my_loglevel.h"
#endif

#include "field_types.h"
#include "sql/field.h"
#include "sql/handler.h"
#include "sql/key.h"
#include "sql/sql_class.h"
#include "sql/table.h"

namespace smartengine {

// Column types that some versions do not have.
constexpr int kTypeVector = 242;

/// How the record in record[0] compares with a key tuple: below, equal or above, as the index orders them.
inline int compare_record_with_key(KEY_PART_INFO *parts, const uchar *key, uint length) {
#if MYSQL_VERSION_ID >= 90000
  return key_cmp(parts, key, length, false);
#else
  return key_cmp(parts, key, length);
#endif
}

}  // namespace smartengine

#endif  // SMARTENGINE_COMPAT_H
