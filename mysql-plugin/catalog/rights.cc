#include "catalog/rights.h"

namespace smartengine::catalog {

namespace {

/// What an upgrade makes of its origin's holders.
enum class Upgrade {
  kSucceeds,     ///< Get it; the origin is gone.
  kAccompanies,  ///< Get it beside the origin.
  kNone,         ///< Do not get it.
};

/// A right that came after 8.0, at the latest with this version, and what its holders could do it by before. Upgrades are those of
/// scripts/mysql_system_tables_fix.sql of the servers up to 9.7; one from 8.0.35 or later comes by no other row there.
struct New {
  const char *right;
  uint32_t since;
  const char *origin;
  Upgrade upgrade;
};

constexpr New kNew[] = {
    {"SET_ANY_DEFINER", 80200, "SET_USER_ID", Upgrade::kSucceeds},
    {"ALLOW_NONEXISTENT_DEFINER", 80200, "SET_USER_ID", Upgrade::kSucceeds},
    {"TRANSACTION_GTID_TAG", 80300, "BINLOG_ADMIN", Upgrade::kAccompanies},
    {"FLUSH_PRIVILEGES", 80400, "RELOAD", Upgrade::kNone},
    {"OPTIMIZE_LOCAL_TABLE", 80400, "SYSTEM_USER", Upgrade::kAccompanies},
    {"CREATE_SPATIAL_REFERENCE_SYSTEM", 90700, "SUPER", Upgrade::kAccompanies},
    {"MANAGE_DATA_MASKING_POLICY", 90700, "CREATE", Upgrade::kAccompanies},
    {"MANAGE_DATA_MASKING_POLICY", 90700, "DROP", Upgrade::kAccompanies},
};

std::vector<std::string> heirs(const std::string &origin, Upgrade upgrade) {
  std::vector<std::string> found;
  for (const New &one : kNew) {
    if (origin == one.origin && upgrade == one.upgrade) found.emplace_back(one.right);
  }
  return found;
}

std::string trimmed(const std::string &text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? std::string() : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

}  // namespace

bool Rights::with_grant_option() const { return rest.rfind(" WITH GRANT OPTION") != std::string::npos; }

bool parse_rights(const std::string &sql, Rights *rights) {
  *rights = {};
  for (const char *verb : {"GRANT ", "REVOKE "}) {
    if (sql.rfind(verb, 0) == 0) rights->verb = verb;
  }
  if (rights->verb.empty()) return false;
  char quote = 0;
  size_t depth = 0;
  size_t start = rights->verb.size();
  for (size_t i = start; i < sql.size(); ++i) {
    const char character = sql[i];
    if (quote != 0) {
      if (character == quote) quote = 0;
      continue;
    }
    if (character == '`' || character == '\'' || character == '"') quote = character;
    if (character == '(') ++depth;
    if (character == ')' && depth > 0) --depth;
    if (depth != 0) continue;
    const bool ends = sql.compare(i, 4, " ON ") == 0 || sql.compare(i, 4, " TO ") == 0 || sql.compare(i, 6, " FROM ") == 0;
    if (character != ',' && !ends) continue;
    rights->list.push_back(trimmed(sql.substr(start, i - start)));
    start = i + 1;
    if (!ends) continue;
    rights->rest = sql.substr(i);
    return true;
  }
  return false;
}

std::vector<std::string> successors(const std::string &right) { return heirs(right, Upgrade::kSucceeds); }

std::vector<std::string> companions(const std::string &right) { return heirs(right, Upgrade::kAccompanies); }

std::vector<std::string> origins_of_new(const std::string &right, uint32_t server_version) {
  std::vector<std::string> found;
  for (const New &one : kNew) {
    if (right == one.right && server_version < one.since) found.emplace_back(one.origin);
  }
  return found;
}

Account account_rights(const Entry &account) {
  Account result;
  for (const std::string &sql : account.fields) {
    Rights rights;
    if (sql.rfind("GRANT PROXY ON ``@``", 0) == 0) result.proxies = true;
    if (!parse_rights(sql, &rights) || !rights.is_global()) continue;
    result.global.insert(rights.list.begin(), rights.list.end());
    result.grants = result.grants || rights.with_grant_option();
  }
  return result;
}

}  // namespace smartengine::catalog
