#include "catalog/unloaded_plugin.h"

#include "catalog/sql_session.h"

namespace smartengine::catalog {

namespace {

/// What MySQL itself gives accounts that are not to log in: no password has this hash.
const char *const kNoPassword =
    "IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$THISISACOMBINATIONOFINVALIDSALTANDPASSWORDTHATMUSTNEVERBRBEUSED'";

/// The literal in single quotes at `place`, with them; empty if there is none.
std::string literal_at(const std::string &text, size_t place) {
  if (place >= text.size() || text[place] != '\'') return {};
  for (size_t i = place + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '\'') {
      if (i + 1 < text.size() && text[i + 1] == '\'')
        ++i;
      else
        return text.substr(place, i + 1 - place);
    }
  }
  return {};
}

}  // namespace

bool withhold_plugin(const Entry &account, Unloaded *unloaded) {
  static const std::string kStart(" IDENTIFIED WITH ");
  static const std::string kAs(" AS ");
  static const std::string kUnlocked(" ACCOUNT UNLOCK");
  std::string create = account.field(0);
  const size_t start = find_unquoted(create, kStart, 0);
  if (start == std::string::npos) return false;
  const std::string plugin = literal_at(create, start + kStart.size());
  size_t end = start + kStart.size() + plugin.size();
  std::string hash("''");
  if (create.compare(end, kAs.size(), kAs) == 0) {
    const size_t place = end + kAs.size();
    hash = literal_at(create, place);
    if (hash.empty()) hash = create.substr(place, create.find(' ', place) - place);
    end = place + hash.size();
    // A column of text takes no binary string for one.
    if (hash.compare(0, 2, "0x") == 0) hash = "CONVERT(" + hash + " USING utf8mb3)";
  }
  if (plugin.size() <= 2 || create.compare(end, 9, " REQUIRE ") != 0) return false;
  create.replace(start + 1, end - start - 1, kNoPassword);
  const size_t unlocked = find_unquoted(create, kUnlocked, 0);
  if (unlocked != std::string::npos) create.replace(unlocked, kUnlocked.size(), " ACCOUNT LOCK");
  unloaded->plugin = plugin.substr(1, plugin.size() - 2);
  unloaded->create = std::move(create);
  unloaded->restore = "UPDATE mysql.user SET plugin = " + plugin + ", authentication_string = " + hash +
                      ", account_locked = " + (unlocked == std::string::npos ? "'Y'" : "'N'") +
                      " WHERE User = " + quoted_text(account.name.name) + " AND Host = " + quoted_text(account.name.schema);
  return true;
}

}  // namespace smartengine::catalog
