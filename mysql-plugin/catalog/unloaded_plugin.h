// Accounts whose authentication plugin this server has not loaded, such as mysql_native_password in MySQL 9.
//
// CREATE USER refuses them, and so does every GRANT to one. MySQL's own upgrade keeps their rows as they are: nobody can log in by them, but they have
// their rights, are the definers of what they defined, and ALTER USER gives them another plugin. The same is made here: the account is made with a
// password that is none and locked, gets its rights, and last its row says what it has to. A crash in between leaves an account that nobody can use; the
// next start makes it again.

#ifndef SMARTENGINE_CATALOG_UNLOADED_PLUGIN_H
#define SMARTENGINE_CATALOG_UNLOADED_PLUGIN_H

#include <string>

#include "catalog/entry.h"

namespace smartengine::catalog {

struct Unloaded {
  std::string plugin;
  std::string create;   ///< CREATE USER, locked, with a plugin that every server has and no password that fits.
  std::string restore;  ///< What makes its row that of the account, to be run after all grants and before FLUSH PRIVILEGES.
};

/// Takes apart an account's CREATE USER; false for one with several factors, or none that has to be loaded.
bool withhold_plugin(const Entry &account, Unloaded *unloaded);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_UNLOADED_PLUGIN_H
