#include "catalog/reader.h"

#include <algorithm>

#include "catalog/store.h"
#include "catalog/tables.h"
#include "compat.h"
#include "mysqld_error.h"

namespace smartengine::catalog {

namespace {

const char *const kNotSystem = " NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')";

std::string value(const SqlSession::Row &row, size_t place) { return place < row.size() && row[place] ? *row[place] : std::string(); }

std::string full_name(const Name &name) { return quoted_name(name.schema) + '.' + quoted_name(name.name); }

/// For the errors that say there is no such object.
bool is_absence(unsigned error) {
  switch (error) {
    case ER_BAD_DB_ERROR:
    case ER_NO_SUCH_TABLE:
    case ER_SP_DOES_NOT_EXIST:
    case ER_TRG_DOES_NOT_EXIST:
    case ER_EVENT_DOES_NOT_EXIST:
    case ER_CANNOT_USER:
    case ER_NONEXISTING_GRANT:
    case ER_USER_DOES_NOT_EXIST:
      return true;
    default:
      return false;
  }
}

/// Runs a SHOW CREATE; `kYes` if it has a row.
Found show(SqlSession &session, const std::string &sql) {
  if (session.run(sql)) return session.rows().empty() ? Found::kNo : Found::kYes;
  return is_absence(session.error()) ? Found::kNo : Found::kFailed;
}

Found read_relation(SqlSession &session, Entry *entry) {
  const Found found = show(session, "SHOW CREATE TABLE " + full_name(entry->name));
  if (found != Found::kYes) return found;
  const SqlSession::Row row = session.rows().front();
  if (row.size() >= 4) {
    entry->name.kind = Kind::kView;
    entry->fields = {value(row, 1), value(row, 2), value(row, 3)};
    return Found::kYes;
  }
  entry->name.kind = Kind::kTable;
  TableText text = parse_table_text(value(row, 1));
  if (my_strcasecmp(system_charset_info, text.engine.c_str(), "SMARTENGINE") != 0) {
    entry->fields = {text.engine};
    return Found::kElsewhere;
  }
  entry->fields = {std::move(text.body)};
  return Found::kYes;
}

/// A SHOW CREATE whose columns are those of `places`, after the name.
Found read_stored(SqlSession &session, const char *what, const std::vector<size_t> &places, Entry *entry) {
  const Found found = show(session, std::string("SHOW CREATE ") + what + ' ' + full_name(entry->name));
  if (found != Found::kYes) return found;
  const SqlSession::Row &row = session.rows().front();
  entry->name.name = value(row, 0);
  for (const size_t place : places) entry->fields.push_back(value(row, place));
  return Found::kYes;
}

Found read_trigger(SqlSession &session, Entry *entry) {
  const Found found = read_stored(session, "TRIGGER", {2, 1, 3, 4, 5}, entry);
  if (found != Found::kYes) return found;
  const bool done =
      session.run("SELECT EVENT_OBJECT_TABLE, LPAD(ACTION_ORDER, 10, '0') FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = " +
                  quoted_text(entry->name.schema) + " AND TRIGGER_NAME = " + quoted_text(entry->name.name));
  if (!done) return Found::kFailed;
  if (session.rows().empty()) return Found::kNo;
  entry->fields.push_back(value(session.rows().front(), 0));
  entry->fields.push_back(value(session.rows().front(), 1));
  return Found::kYes;
}

std::string account_name(const Name &name) { return quoted_name(name.name) + '@' + quoted_name(name.schema); }

/// Takes the default roles out of CREATE USER: they need roles that are granted later.
std::string take_default_roles(std::string *create) {
  static const std::string kStart(" DEFAULT ROLE ");
  const size_t start = find_unquoted(*create, kStart, 0);
  if (start == std::string::npos) return {};
  const size_t end = find_unquoted(*create, " REQUIRE ", start + kStart.size());
  const size_t length = end == std::string::npos ? std::string::npos : end - start;
  const std::string clause = create->substr(start, length);
  create->erase(start, length);
  return clause.substr(kStart.size());
}

/// What CREATE USER does not say about an account, as statements on the server's own tables.
bool read_remainder(SqlSession &session, const Name &name, std::vector<std::string> *statements) {
  const std::string where = " WHERE User = " + quoted_text(name.name) + " AND Host = " + quoted_text(name.schema);
  if (!session.run("SELECT CAST(password_last_changed AS CHAR), JSON_UNQUOTE(JSON_EXTRACT(User_attributes, '$.additional_password')) "
                   "FROM mysql.user" +
                   where)) {
    return false;
  }
  if (!session.rows().empty()) {
    const SqlSession::Row row = session.rows().front();
    if (row[0]) statements->push_back("UPDATE mysql.user SET password_last_changed = " + quoted_text(*row[0]) + where);
    if (row[1]) {
      statements->push_back("UPDATE mysql.user SET User_attributes = JSON_SET(COALESCE(User_attributes, '{}'), '$.additional_password', " +
                            quoted_text(*row[1]) + ')' + where);
    }
  }
  if (!session.run("SELECT CAST(Password_timestamp AS CHAR), HEX(Password) FROM mysql.password_history" + where +
                   " ORDER BY Password_timestamp")) {
    return false;
  }
  // CREATE USER writes a row of its own.
  if (!session.rows().empty()) statements->push_back("DELETE FROM mysql.password_history" + where);
  for (const SqlSession::Row &row : session.rows()) {
    statements->push_back("INSERT INTO mysql.password_history (Host, User, Password_timestamp, Password) VALUES (" +
                          quoted_text(name.schema) + ", " + quoted_text(name.name) + ", " + quoted_text(value(row, 0)) + ", " +
                          (row[1] ? "CONVERT(0x" + *row[1] + " USING utf8mb3)" : "NULL") + ')');
  }
  return true;
}

/// SHOW CREATE USER prints the required fields of a certificate as they are, whatever quotes are in them.
bool quote_certificate(SqlSession &session, const Name &name, std::string *create) {
  if (find_unquoted(*create, " REQUIRE SUBJECT '", 0) == std::string::npos &&
      find_unquoted(*create, " REQUIRE ISSUER '", 0) == std::string::npos &&
      find_unquoted(*create, " REQUIRE CIPHER '", 0) == std::string::npos) {
    return true;
  }
  if (!session.run("SELECT CONVERT(x509_subject USING utf8mb4), CONVERT(x509_issuer USING utf8mb4), CONVERT(ssl_cipher USING utf8mb4) FROM "
                   "mysql.user "
                   "WHERE User = " +
                   quoted_text(name.name) + " AND Host = " + quoted_text(name.schema))) {
    return false;
  }
  if (session.rows().empty()) return true;
  const SqlSession::Row row = session.rows().front();
  const char *const words[] = {" SUBJECT ", " ISSUER ", " CIPHER "};
  size_t from = find_unquoted(*create, " REQUIRE ", 0);
  for (size_t i = 0; i < 3; ++i) {
    const std::string raw = words[i] + ('\'' + value(row, i) + '\'');
    const size_t place = value(row, i).empty() ? std::string::npos : create->find(raw, from);
    if (place == std::string::npos) continue;
    const std::string quoted = words[i] + quoted_text(value(row, i));
    create->replace(place, raw.size(), quoted);
    from = place + quoted.size();
  }
  return true;
}

/// SHOW GRANTS does not show rights on columns that are covered by rights on their table, but which remain if those are revoked.
bool read_column_rights(SqlSession &session, const Name &name, std::vector<std::string> *statements) {
  if (!session.run("SELECT Db, Table_name, Column_name, CAST(Column_priv AS CHAR) FROM mysql.columns_priv WHERE User = " +
                   quoted_text(name.name) + " AND Host = " + quoted_text(name.schema) + " ORDER BY Db, Table_name, Column_name")) {
    return false;
  }
  for (const SqlSession::Row &row : session.rows()) {
    const std::string column = " (" + quoted_name(value(row, 2)) + ")";
    std::string rights = value(row, 3);
    for (size_t comma = rights.find(','); comma != std::string::npos; comma = rights.find(',', comma + column.size() + 1))
      rights.insert(comma, column);
    if (rights.empty()) continue;
    statements->push_back("GRANT " + rights + column + " ON " + quoted_name(value(row, 0)) + '.' + quoted_name(value(row, 1)) + " TO " +
                          account_name(name));
  }
  return true;
}

Found read_account(SqlSession &session, Entry *entry) {
  Found found = show(session, "SHOW CREATE USER " + account_name(entry->name));
  if (found != Found::kYes) return found;
  std::string create = value(session.rows().front(), 0);
  if (!quote_certificate(session, entry->name, &create)) return Found::kFailed;
  std::string roles = take_default_roles(&create);
  std::vector<std::string> remainder;
  std::vector<std::string> columns;
  if (!read_remainder(session, entry->name, &remainder) || !read_column_rights(session, entry->name, &columns)) return Found::kFailed;
  found = show(session, "SHOW GRANTS FOR " + account_name(entry->name));
  if (found != Found::kYes) return found;
  entry->fields = {std::move(create), std::move(roles), std::to_string(remainder.size())};
  entry->fields.insert(entry->fields.end(), remainder.begin(), remainder.end());
  entry->fields.insert(entry->fields.end(), columns.begin(), columns.end());
  for (const SqlSession::Row &row : session.rows()) entry->fields.push_back(value(row, 0));
  return Found::kYes;
}

}  // namespace

bool is_system_schema(const std::string &schema) {
  return schema == "mysql" || schema == "sys" || my_strcasecmp(system_charset_info, schema.c_str(), "information_schema") == 0 ||
         my_strcasecmp(system_charset_info, schema.c_str(), "performance_schema") == 0;
}

bool is_system_account(const Name &account) {
  return account.schema == "localhost" &&
         (account.name == "mysql.sys" || account.name == "mysql.session" || account.name == "mysql.infoschema");
}

Found read(SqlSession &session, const Name &name, Entry *entry) {
  *entry = Entry();
  entry->name = name;
  entry->server_version = written_version();
  switch (name.kind) {
    case Kind::kSchema: {
      const Found found = show(session, "SHOW CREATE DATABASE " + quoted_name(name.schema));
      if (found == Found::kYes) entry->fields = {value(session.rows().front(), 1)};
      return found;
    }
    case Kind::kTable:
    case Kind::kView:
      return read_relation(session, entry);
    case Kind::kLibrary:
      return read_stored(session, "LIBRARY", {2, 1}, entry);
    case Kind::kFunction:
      return read_stored(session, "FUNCTION", {2, 1, 3, 4, 5}, entry);
    case Kind::kProcedure:
      return read_stored(session, "PROCEDURE", {2, 1, 3, 4, 5}, entry);
    case Kind::kTrigger:
      return read_trigger(session, entry);
    case Kind::kEvent:
      return read_stored(session, "EVENT", {3, 1, 4, 5, 6, 2}, entry);
    case Kind::kAccount:
      return read_account(session, entry);
    case Kind::kMeta:
      break;
  }
  return Found::kNo;
}

bool list(SqlSession &session, Kind kind, std::vector<Listed> *names) {
  std::string sql;
  switch (kind) {
    case Kind::kSchema:
      sql = std::string("SELECT SCHEMA_NAME, '', '' FROM information_schema.SCHEMATA WHERE SCHEMA_NAME") + kNotSystem;
      break;
    case Kind::kTable:
      sql = std::string(
                "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND "
                "TABLE_SCHEMA") +
            kNotSystem;
      break;
    case Kind::kView:
      sql = std::string("SELECT TABLE_SCHEMA, TABLE_NAME, '' FROM information_schema.TABLES WHERE TABLE_TYPE = 'VIEW' AND TABLE_SCHEMA") +
            kNotSystem;
      break;
    case Kind::kFunction:
    case Kind::kProcedure:
      sql = std::string("SELECT ROUTINE_SCHEMA, ROUTINE_NAME, '' FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = ") +
            (kind == Kind::kFunction ? "'FUNCTION'" : "'PROCEDURE'") + " AND ROUTINE_SCHEMA" + kNotSystem;
      break;
    case Kind::kLibrary:
      if (!kHasLibraries) return true;
      sql = std::string("SELECT LIBRARY_SCHEMA, LIBRARY_NAME, '' FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA") + kNotSystem;
      break;
    case Kind::kTrigger:
      sql = std::string("SELECT TRIGGER_SCHEMA, TRIGGER_NAME, '' FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA") + kNotSystem;
      break;
    case Kind::kEvent:
      sql = std::string("SELECT EVENT_SCHEMA, EVENT_NAME, '' FROM information_schema.EVENTS WHERE EVENT_SCHEMA") + kNotSystem;
      break;
    case Kind::kAccount:
      sql = "SELECT Host, User, '' FROM mysql.user";
      break;
    case Kind::kMeta:
      return true;
  }
  if (!session.run(sql)) return false;
  for (const SqlSession::Row &row : session.rows()) {
    Listed listed{{kind, value(row, 0), value(row, 1)}, value(row, 2)};
    if (kind != Kind::kAccount || !is_system_account(listed.name)) names->push_back(std::move(listed));
  }
  return true;
}

bool list_all(SqlSession &session, std::vector<Listed> *names) {
  for (auto kind = static_cast<uint8_t>(Kind::kSchema); kind <= static_cast<uint8_t>(Kind::kAccount); ++kind) {
    if (!list(session, static_cast<Kind>(kind), names)) return false;
  }
  return true;
}

bool list_triggers(SqlSession &session, const std::string &schema, const std::string &table, std::vector<Name> *names) {
  const bool done = session.run("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = " + quoted_text(schema) +
                                " AND EVENT_OBJECT_TABLE = " + quoted_text(table) + " ORDER BY ACTION_ORDER");
  if (!done) return false;
  for (const SqlSession::Row &row : session.rows()) names->push_back({Kind::kTrigger, schema, value(row, 0)});
  return true;
}

}  // namespace smartengine::catalog
