#include "catalog/rights.h"

namespace smartengine::catalog {

namespace {

/// As scripts/mysql_system_tables_fix.sql of the servers up to 9.7 has it. An upgrade from 8.0.35 or later comes by no other row there.
struct Heir {
  const char *right;
  const char *gets;
};

constexpr Heir kSuccessors[] = {
    {"SET_USER_ID", "SET_ANY_DEFINER"},
    {"SET_USER_ID", "ALLOW_NONEXISTENT_DEFINER"},
};

constexpr Heir kCompanions[] = {
    {"BINLOG_ADMIN", "TRANSACTION_GTID_TAG"}, {"SYSTEM_USER", "OPTIMIZE_LOCAL_TABLE"}, {"SUPER", "CREATE_SPATIAL_REFERENCE_SYSTEM"},
    {"CREATE", "MANAGE_DATA_MASKING_POLICY"}, {"DROP", "MANAGE_DATA_MASKING_POLICY"},
};

template <size_t N>
std::vector<std::string> heirs(const Heir (&all)[N], const std::string &right) {
  std::vector<std::string> found;
  for (const Heir &one : all) {
    if (right == one.right) found.emplace_back(one.gets);
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

std::vector<std::string> successors(const std::string &right) { return heirs(kSuccessors, right); }

std::vector<std::string> companions(const std::string &right) { return heirs(kCompanions, right); }

void add_global_rights(const Entry &account, std::set<std::string> *found) {
  for (const std::string &sql : account.fields) {
    Rights rights;
    if (parse_rights(sql, &rights) && rights.is_global()) found->insert(rights.list.begin(), rights.list.end());
  }
}

}  // namespace smartengine::catalog
