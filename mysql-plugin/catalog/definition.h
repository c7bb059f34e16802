// What is read from a definition in the catalog, and how statements name what it defines.

#ifndef SMARTENGINE_CATALOG_DEFINITION_H
#define SMARTENGINE_CATALOG_DEFINITION_H

#include <cstdint>
#include <string>

#include "catalog/entry.h"

namespace smartengine::catalog {

/// `schema`.`name`.
std::string full_name(const Name &name);
/// `user`@`host`.
std::string account_name(const Name &name);

/// What DROP and messages call a kind.
const char *sql_kind(Kind kind);
std::string drop_statement(const Name &name);

/// SHOW CREATE DATABASE says so in a comment at the end, which does nothing when it is run.
bool is_read_only(const Entry &schema);

/// Whether SHOW CREATE USER says that the password has expired, and not when it will.
bool is_expired(const std::string &create);

/// The account that the server's own initialisation makes, with all rights that its version has.
bool is_servers_own(const Name &account);

/// 80036 gives 800.
uint32_t series(uint32_t server_version);

/// Whether an object was defined under a server of another series, such as 8.0 for 9.7.
bool is_of_another_series(const Entry &entry);

/// 80036 gives 8.0.36.
std::string dotted(uint32_t server_version);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_DEFINITION_H
