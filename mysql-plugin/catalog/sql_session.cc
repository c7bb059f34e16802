#include "catalog/sql_session.h"

#include "compat.h"
#include "mysqld_error.h"
#include "sql/query_options.h"
#include "sql/sql_thd_internal_api.h"
#include "sql/system_variables.h"

namespace smartengine {

namespace {

/// A lock that somebody holds for longer is waited for by trying again.
constexpr ulong kLockWaitSeconds = 2;

/// How often a statement is carried out that gets in the way of others, which go on before it.
constexpr int kDeadlocks = 10;

const CHARSET_INFO *utf8() { return &my_charset_utf8mb4_0900_ai_ci; }

}  // namespace

SqlSession::SqlSession() : m_thd(create_internal_thd()) {
  System_variables &variables = m_thd->variables;
  variables.option_bits &= ~(OPTION_BIN_LOG | OPTION_NOT_AUTOCOMMIT);
  variables.option_bits |= OPTION_AUTOCOMMIT | OPTION_QUOTE_SHOW_CREATE | OPTION_NO_FOREIGN_KEY_CHECKS;
  variables.sql_log_bin = false;
  variables.sql_mode = 0;
  variables.lock_wait_timeout = kLockWaitSeconds;
  variables.explicit_defaults_for_timestamp = true;
  variables.sql_require_primary_key = false;
  variables.sql_generate_invisible_primary_key = false;
  variables.show_gipk_in_create_table_and_information_schema = true;
  variables.print_identified_with_as_hex = true;
  variables.show_create_table_skip_secondary_engine = false;
  variables.show_create_table_verbosity = false;
  variables.default_table_encryption = false;
  variables.default_collation_for_utf8mb4 = utf8();
  variables.collation_server = utf8();
  variables.select_limit = HA_POS_ERROR;
  variables.max_execution_time = 0;
  variables.group_concat_max_len = UINT32_MAX;
  variables.transaction_read_only = false;
  variables.transaction_isolation = ISO_READ_COMMITTED;
  variables.information_schema_stats_expiry = 86400;
  m_thd->tx_read_only = false;
  m_thd->tx_isolation = ISO_READ_COMMITTED;
  m_thd->server_status |= SERVER_STATUS_AUTOCOMMIT;
  m_thd->m_disable_password_validation = true;
  hide();
  use_defaults();
  run("SET time_zone = '+00:00'");
}

SqlSession::~SqlSession() {
  // What it has counted is not to be added to the global status.
  m_thd->status_var = {};
  destroy_internal_thd(m_thd);
}

/// The server writes only clients' statements to the slow log, and the threads that have such a session have no instrumentation of
/// performance_schema's.
void SqlSession::hide() {
  m_thd->variables.option_bits |= OPTION_LOG_OFF;
  m_thd->m_audited = false;
}

void SqlSession::use_charsets(const std::string &client, const std::string &connection) {
  const CHARSET_INFO *named = get_charset_by_csname(client.c_str(), MY_CS_PRIMARY, MYF(0));
  const CHARSET_INFO *collation = get_charset_by_name(connection.c_str(), MYF(0));
  m_thd->variables.character_set_client = named == nullptr ? utf8() : named;
  m_thd->variables.collation_connection = collation == nullptr ? utf8() : collation;
  m_thd->variables.character_set_results = nullptr;
  m_thd->update_charset();
}

bool SqlSession::use_sql_mode(const std::string &names) {
  m_thd->variables.sql_mode = 0;
  return names.empty() || run("SET sql_mode = " + quoted_text(names));
}

void SqlSession::use_defaults() {
  m_thd->variables.sql_mode = 0;
  m_thd->server_status &= ~SERVER_STATUS_NO_BACKSLASH_ESCAPES;
  use_charsets("utf8mb4", utf8()->m_coll_name);
  m_thd->reset_db(NULL_CSTR);
}

/// Each statement is a transaction of its own, so that one which a deadlock has ended (with DROP DATABASE, say) can simply be carried out again.
bool SqlSession::run(const std::string &sql) {
  for (int tries = 1; tries < kDeadlocks; ++tries) {
    if (run_once(sql)) return true;
    if (m_error != ER_LOCK_DEADLOCK) return false;
  }
  return run_once(sql);
}

bool SqlSession::run_once(const std::string &sql) {
  m_rows.clear();
  m_error = 0;
  m_message.clear();
  m_thd->set_skip_readonly_check();
  m_thd->set_time();
  std::string text(sql);
  Ed_connection connection(m_thd);
  const bool failed = connection.execute_direct(LEX_STRING{text.data(), text.size()});
  if (failed) {
    m_error = connection.get_last_errno();
    m_message = connection.get_last_error();
    return false;
  }
  Ed_result_set *result = connection.get_result_sets();
  if (result == nullptr) return true;
  List<Ed_row> &rows = *result;
  List_iterator<Ed_row> iterator(rows);
  while (const Ed_row *row = iterator++) {
    Row values;
    for (unsigned i = 0; i < row->size(); ++i) {
      const Ed_column *column = row->get_column(i);
      if (column->str == nullptr)
        values.emplace_back();
      else
        values.emplace_back(std::string(column->str, column->length));
    }
    m_rows.push_back(std::move(values));
  }
  return true;
}

std::string quoted_name(const std::string &name) {
  std::string text("`");
  for (const char character : name) {
    if (character == '`') text.push_back('`');
    text.push_back(character);
  }
  return text + '`';
}

std::string quoted_text(const std::string &content) {
  std::string text("'");
  for (const char character : content) {
    if (character == '\'' || character == '\\') text.push_back('\\');
    text.push_back(character);
  }
  return text + '\'';
}

size_t find_unquoted(const std::string &text, const std::string &wanted, size_t from) {
  char quote = 0;
  for (size_t i = from; i < text.size(); ++i) {
    const char character = text[i];
    if (quote != 0) {
      if (character == '\\' && quote == '\'')
        ++i;
      else if (character == quote)
        quote = 0;
    } else if (character == '\'' || character == '`' || character == '"') {
      quote = character;
    } else if (text.compare(i, wanted.size(), wanted) == 0) {
      return i;
    }
  }
  return std::string::npos;
}

}  // namespace smartengine
