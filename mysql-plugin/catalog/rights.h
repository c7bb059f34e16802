// Lists of rights in GRANT and REVOKE, taken apart, and what MySQL's own upgrade makes of rights that another version had.

#ifndef SMARTENGINE_CATALOG_RIGHTS_H
#define SMARTENGINE_CATALOG_RIGHTS_H

#include <set>
#include <string>
#include <vector>

#include "catalog/entry.h"

namespace smartengine::catalog {

/// `verb` is "GRANT " or "REVOKE ", `rest` what follows the list: " ON …" or, where it is a list of roles, " TO …" or " FROM …".
struct Rights {
  std::string verb;
  std::vector<std::string> list;  ///< "SELECT", "UPDATE (`a`, `b`)", "BACKUP_ADMIN", "PROXY", "`role`@`%`" …
  std::string rest;

  /// The statement with another list.
  std::string statement(const std::string &list) const { return verb + list + rest; }
  /// Whether they are granted for everything, as all dynamic privileges are.
  bool is_global() const { return verb == "GRANT " && rest.compare(0, 12, " ON *.* TO `") == 0; }
  bool with_grant_option() const;
};

/// False if it is neither.
bool parse_rights(const std::string &sql, Rights *rights);

/// What stands for a right that some later version has no longer; nothing if there is no such.
std::vector<std::string> successors(const std::string &right);

/// What MySQL's upgrade grants beside `right`, which the holder of that could do without it before.
std::vector<std::string> companions(const std::string &right);

/// The rights that a right can come from which servers of that version did not have; none for one that they had.
std::vector<std::string> origins_of_new(const std::string &right, uint32_t server_version);

/// What an account is granted for everything.
struct Account {
  std::set<std::string> global;
  bool grants = false;   ///< It may grant some of these.
  bool proxies = false;  ///< It may act for anybody.
};

Account account_rights(const Entry &account);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_RIGHTS_H
