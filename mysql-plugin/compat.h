// The server's headers, and the differences between its versions 8.0.35 to 9.7. Every test of MYSQL_VERSION_ID and
// every __has_include of this plugin stands here; the other files read as if there were one server.

#ifndef SMARTENGINE_COMPAT_H
#define SMARTENGINE_COMPAT_H

#include <cstdint>
#include <string>
#include <string_view>

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

// A session of the plugin's own.
#if __has_include("sql/statement/ed_connection.h")
#include "sql/statement/ed_connection.h"
#else
#include "sql/sql_prepare.h"
#endif

#include "field_types.h"
#include "mysql_com.h"
#include "sql/field.h"
#include "sql/handler.h"
#include "sql/key.h"
#include "sql/sql_class.h"
#include "sql/table.h"
#include "sql/transaction_info.h"
#ifndef REFRESH_SOURCE
#define REFRESH_SOURCE REFRESH_MASTER
#endif

/// What innodb_flush_log_at_trx_commit is set to.
extern ulong srv_flush_log_at_trx_commit;

namespace smartengine {

// Column types that some versions do not have.
constexpr int kTypeVector = 242;

/// Whether the server has CREATE LIBRARY.
#if MYSQL_VERSION_ID >= 90200
constexpr bool kHasLibraries = true;
#else
constexpr bool kHasLibraries = false;
#endif

#if defined(MYSQL_VERSION_MATURITY)
constexpr std::string_view kServerMaturity{MYSQL_VERSION_MATURITY};
#elif defined(MYSQL_VERSION_STABILITY)
constexpr std::string_view kServerMaturity{MYSQL_VERSION_STABILITY};
#else
constexpr std::string_view kServerMaturity{};
#endif

/// The highest version of a server whose store this one takes. It is the rule that MySQL has for its data directories: within a series of long-term
/// support (8.0 from 8.0.35 on, 8.4, 9.7) back to an earlier patch release as well, everywhere else only forward.
constexpr uint32_t kNewestServerVersion = kServerMaturity == "LTS" ? MYSQL_VERSION_ID / 100 * 100 + 99 : MYSQL_VERSION_ID;

/// How the record in record[0] compares with a key tuple: below, equal or above, as the index orders them.
inline int compare_record_with_key(KEY_PART_INFO *parts, const uchar *key, uint length) {
#if MYSQL_VERSION_ID >= 90000
  return key_cmp(parts, key, length, false);
#else
  return key_cmp(parts, key, length);
#endif
}

/// Whether the session's transaction has a GTID, and whose number it is: uuid, or uuid:tag.
inline bool owns_gtid(const THD *thd) { return thd->owned_gtid.sidno > 0; }
inline std::string owned_gtid_source(const THD *thd) {
#if MYSQL_VERSION_ID >= 80300
  return thd->owned_tsid.to_string();
#else
  char text[64];
  return {text, static_cast<size_t>(thd->owned_sid.to_string(text))};
#endif
}

/// Makes the server forget that the transaction has written to a table, where it warns of transactions over two engines.
#if __has_include("sql/engine_combination_tracker.h")
inline void forget_written_engine(THD *thd) { thd->get_transaction()->tracker.clear_known_engine(); }
#else
inline void forget_written_engine(THD *) {}
#endif

/// The session's GTID as text, `uuid:number` or `uuid:tag:number`; empty if it has none.
inline std::string owned_gtid(const THD *thd) {
  return owns_gtid(thd) ? owned_gtid_source(thd) + ':' + std::to_string(thd->owned_gtid.gno) : std::string();
}

/// The server's gtid_executed, as text.
inline std::string executed_gtids() {
  if (gtid_state == nullptr) return {};
#if MYSQL_VERSION_ID >= 80300
  Checkable_rwlock *const lock = global_tsid_lock;
#else
  Checkable_rwlock *const lock = global_sid_lock;
#endif
  lock->wrlock();
  const Gtid_set *const executed = gtid_state->get_executed_gtids();
  std::string text(executed->get_string_length() + 1, '\0');
  text.resize(executed->to_string(text.data()));
  lock->unlock();
  return text;
}

}  // namespace smartengine

#endif  // SMARTENGINE_COMPAT_H
