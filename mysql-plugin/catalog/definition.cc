#include "catalog/definition.h"

#include "catalog/sql_session.h"
#include "compat.h"

namespace smartengine::catalog {

std::string full_name(const Name &name) { return quoted_name(name.schema) + '.' + quoted_name(name.name); }
std::string account_name(const Name &name) { return quoted_name(name.name) + '@' + quoted_name(name.schema); }

const char *sql_kind(Kind kind) {
  switch (kind) {
    case Kind::kSchema:
      return "DATABASE";
    case Kind::kTable:
      return "TABLE";
    case Kind::kLibrary:
      return "LIBRARY";
    case Kind::kFunction:
      return "FUNCTION";
    case Kind::kProcedure:
      return "PROCEDURE";
    case Kind::kView:
      return "VIEW";
    case Kind::kTrigger:
      return "TRIGGER";
    case Kind::kEvent:
      return "EVENT";
    default:
      return "USER";
  }
}

std::string drop_statement(const Name &name) {
  const std::string start = std::string("DROP ") + sql_kind(name.kind) + ' ';
  switch (name.kind) {
    case Kind::kSchema:
      return start + quoted_name(name.schema);
    case Kind::kAccount:
      return start + account_name(name);
    default:
      return start + full_name(name);
  }
}

bool is_read_only(const Entry &schema) { return schema.field(0).rfind("/* READ ONLY") != std::string::npos; }

bool is_expired(const std::string &create) {
  static const std::string kExpire(" PASSWORD EXPIRE ");
  const size_t place = find_unquoted(create, kExpire, 0);
  if (place == std::string::npos) return false;
  const std::string rest = create.substr(place + kExpire.size(), 8);
  return rest.rfind("DEFAULT", 0) != 0 && rest.rfind("NEVER", 0) != 0 && rest.rfind("INTERVAL", 0) != 0;
}

uint32_t series(uint32_t server_version) { return server_version / 100; }

bool is_of_another_series(const Entry &entry) { return series(entry.server_version) != series(MYSQL_VERSION_ID); }

bool is_servers_own(const Name &account) { return account.schema == "localhost" && account.name == "root"; }

std::string dotted(uint32_t version) {
  return std::to_string(version / 10000) + '.' + std::to_string(version / 100 % 100) + '.' + std::to_string(version % 100);
}

}  // namespace smartengine::catalog
