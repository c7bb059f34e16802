// SQL inside the server: a session of the plugin's own, in a thread of its own, with all rights and without a client.
//
// What it does goes neither to the binary log nor through read_only, and nobody sees it: it is in no general or slow log, in no audit, in no
// status counter and not in performance_schema. Its variables are the server's built-in defaults where they change what a definition means,
// whatever this server is configured with.

#ifndef SMARTENGINE_SQL_SESSION_H
#define SMARTENGINE_SQL_SESSION_H

#include <optional>
#include <string>
#include <vector>

class THD;

namespace smartengine {

class SqlSession {
 public:
  /// A value is text, or nothing for NULL. Numbers and times must be cast to CHAR by the query.
  using Row = std::vector<std::optional<std::string>>;

  /// To be made, used and destroyed in one thread that has no other session.
  SqlSession();
  ~SqlSession();
  SqlSession(const SqlSession &) = delete;
  SqlSession &operator=(const SqlSession &) = delete;

  /// Runs one statement; false with `error` and `message`.
  bool run(const std::string &sql);
  /// The rows of the last statement's first result set.
  const std::vector<Row> &rows() const { return m_rows; }
  unsigned error() const { return m_error; }
  const std::string &message() const { return m_message; }

  /// How the text of the statements that follow is to be read.
  void use_charsets(const std::string &client, const std::string &connection);
  /// False, with `message`, if this server does not know one of them.
  bool use_sql_mode(const std::string &names);
  /// Back to utf8mb4 and no sql_mode, and no current schema.
  void use_defaults();

  THD *thd() { return m_thd; }

 private:
  bool run_once(const std::string &sql);
  void hide();

  THD *m_thd;
  std::vector<Row> m_rows;
  unsigned m_error = 0;
  std::string m_message;
};

/// `name` in backquotes.
std::string quoted_name(const std::string &name);
/// `text` as a string literal, for a session whose sql_mode is empty.
std::string quoted_text(const std::string &text);
/// The place of `wanted` outside of quotes, or npos.
size_t find_unquoted(const std::string &text, const std::string &wanted, size_t from);

}  // namespace smartengine

#endif  // SMARTENGINE_SQL_SESSION_H
