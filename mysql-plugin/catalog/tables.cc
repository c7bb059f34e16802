#include "catalog/tables.h"

#include <optional>

#include "base/error_map.h"
#include "catalog/attach_state.h"
#include "catalog/sql_session.h"
#include "catalog/store.h"
#include "compat.h"
#include "session/trx.h"
#include "sql/dd/cache/dictionary_client.h"
#include "sql/dd/types/table.h"
#include "sql/error_handler.h"
#include "sql/query_options.h"
#include "sql/sql_show.h"
#include "sql_string.h"
#include "table/dictionary.h"

namespace smartengine::catalog {

namespace {

struct Attachment {
  bool active = false;
  uint64_t table_id = 0;
};

thread_local Attachment attachment;

/// For as long as it lives the session's SHOW CREATE prints what the catalog keeps, whatever the user has set.
class PlainPrinting {
 public:
  explicit PlainPrinting(THD *thd)
      : m_variables(thd->variables),
        m_sql_mode(m_variables.sql_mode),
        m_option_bits(m_variables.option_bits),
        m_invisible_keys(m_variables.show_gipk_in_create_table_and_information_schema),
        m_verbose(m_variables.show_create_table_verbosity),
        m_old_collation(m_variables.default_collation_for_utf8mb4) {
    m_variables.sql_mode = 0;
    m_variables.option_bits |= OPTION_QUOTE_SHOW_CREATE;
    m_variables.show_gipk_in_create_table_and_information_schema = true;
    m_variables.show_create_table_verbosity = false;
    m_variables.default_collation_for_utf8mb4 = &my_charset_utf8mb4_0900_ai_ci;
  }
  ~PlainPrinting() {
    m_variables.sql_mode = m_sql_mode;
    m_variables.option_bits = m_option_bits;
    m_variables.show_gipk_in_create_table_and_information_schema = m_invisible_keys;
    m_variables.show_create_table_verbosity = m_verbose;
    m_variables.default_collation_for_utf8mb4 = m_old_collation;
  }
  PlainPrinting(const PlainPrinting &) = delete;
  PlainPrinting &operator=(const PlainPrinting &) = delete;

 private:
  System_variables &m_variables;
  sql_mode_t m_sql_mode;
  ulonglong m_option_bits;
  bool m_invisible_keys;
  bool m_verbose;
  const CHARSET_INFO *m_old_collation;
};

/// The table that is being created is opened as a temporary one, and would be described as one.
class AsLasting {
 public:
  explicit AsLasting(TABLE_SHARE *share) : m_share(share), m_type(share->tmp_table) { m_share->tmp_table = NO_TMP_TABLE; }
  ~AsLasting() { m_share->tmp_table = m_type; }
  AsLasting(const AsLasting &) = delete;
  AsLasting &operator=(const AsLasting &) = delete;

 private:
  TABLE_SHARE *m_share;
  tmp_table_type m_type;
};

std::string body_of(THD *thd, TABLE *form) {
  const PlainPrinting plain(thd);
  const AsLasting lasting(form->s);
  Table_ref table;
  table.table = form;
  String text;
  // All options, and no START TRANSACTION after CREATE TABLE … SELECT, which the server adds for engines with atomic DDL.
  static ::handlerton other_engine{};
  HA_CREATE_INFO all_options{};
  all_options.db_type = &other_engine;
  all_options.used_fields = UINT64_MAX;
  Dummy_error_handler quiet;
  thd->push_internal_handler(&quiet);
  const bool failed = store_create_info(thd, &table, &text, &all_options, false, true);
  thd->pop_internal_handler();
  return failed ? std::string() : parse_table_text({text.ptr(), text.length()}).body;
}

int put_table(THD *thd, Trx &trx, Entry *entry, TABLE *form) {
  std::string body = body_of(thd, form);
  if (body.empty()) return own_error(kErrorInternal, "the definition of " + describe(entry->name) + " cannot be written down");
  table_versions().bump(entry->name);
  entry->flags = 0;
  entry->server_version = written_version();
  entry->fields = {std::move(body)};
  return put(trx, *entry);
}

}  // namespace

Attaching::Attaching() { attachment = {true, 0}; }
Attaching::~Attaching() { attachment = {}; }
void Attaching::bind(uint64_t table_id) { attachment.table_id = table_id; }
bool Attaching::active() { return attachment.active; }
uint64_t Attaching::table_id() { return attachment.table_id; }

Name table_name(const char *path) {
  const Slice slice = table_name_of_path(path);
  const std::string whole(reinterpret_cast<const char *>(slice.data), slice.size);
  const size_t slash = whole.find('/');
  if (slash == std::string::npos) return {Kind::kTable, {}, dictionary::decoded_name(whole)};
  return {Kind::kTable, dictionary::decoded_name(whole.substr(0, slash)), dictionary::decoded_name(whole.substr(slash + 1))};
}

uint64_t bound_id(THD *thd, const Name &table) {
  const dd::cache::Dictionary_client::Auto_releaser releaser(thd->dd_client());
  const dd::Table *found = nullptr;
  if (thd->dd_client()->acquire(dd::String_type(table.schema.c_str()), dd::String_type(table.name.c_str()), &found)) return 0;
  return found == nullptr ? 0 : found->se_private_id();
}

int check_ddl() {
  if (!is_refused()) return 0;
  return own_error(kErrorInternal, "the catalog was not attached, see the error log: definitions cannot be changed");
}

int find_kept(Trx &trx, const char *path, uint64_t *table_id) {
  std::optional<Entry> entry;
  const int error = find(trx, table_name(path), &entry);
  *table_id = error == 0 && entry && (entry->flags & Entry::kNotReplayed) != 0 ? entry->table_id : 0;
  return error;
}

int note_create(THD *thd, Trx &trx, const char *path, TABLE *form, uint64_t table_id) {
  Entry entry;
  entry.name = table_name(path);
  entry.table_id = table_id;
  return put_table(thd, trx, &entry, form);
}

int note_alter(THD *thd, Trx &trx, const char *path, TABLE *form) {
  std::optional<Entry> entry;
  if (int error = find(trx, table_name(path), &entry); error != 0) return error;
  return entry ? put_table(thd, trx, &*entry, form) : 0;
}

int note_rename(Trx &trx, const char *from, const char *to) {
  std::optional<Entry> entry;
  if (int error = find(trx, table_name(from), &entry); error != 0 || !entry) return error;
  table_versions().bump(entry->name);
  if (int error = remove(trx, entry->name); error != 0) return error;
  entry->name = table_name(to);
  table_versions().bump(entry->name);
  return put(trx, *entry);
}

int note_truncate(Trx &trx, const char *path, uint64_t table_id) {
  std::optional<Entry> entry;
  if (int error = find(trx, table_name(path), &entry); error != 0 || !entry) return error;
  table_versions().bump(entry->name);
  entry->table_id = table_id;
  return put(trx, *entry);
}

int note_drop(Trx &trx, const char *path) {
  const Name name = table_name(path);
  std::optional<Entry> entry;
  if (int error = find(trx, name, &entry); error != 0 || !entry) return error;
  table_versions().bump(name);
  return remove(trx, name);
}

TableText parse_table_text(const std::string &text) {
  static const std::string kStart("CREATE TABLE `");
  static const std::string kOptions("\n) ENGINE=");
  static const std::string kCounter(" AUTO_INCREMENT=");
  if (text.compare(0, kStart.size(), kStart) != 0) return {};
  size_t end = kStart.size();
  while (end < text.size() && (text[end] != '`' || (end + 1 < text.size() && text[end + 1] == '`'))) end += text[end] == '`' ? 2 : 1;
  const size_t options = find_unquoted(text, kOptions, std::min(end + 1, text.size()));
  if (end >= text.size() || options == std::string::npos) return {};
  const size_t engine = options + kOptions.size();
  const size_t engine_end = std::min(text.find_first_of(" \n", engine), text.size());
  TableText result{text.substr(engine, engine_end - engine), text.substr(end + 1)};
  if (text.compare(engine_end, kCounter.size(), kCounter) == 0) {
    const size_t digits = engine_end + kCounter.size();
    const size_t digits_end = std::min(text.find_first_not_of("0123456789", digits), text.size());
    result.body.erase(engine_end - end - 1, digits_end - engine_end);
  }
  return result;
}

std::string without_inherited_collations(const std::string &body) {
  static const std::string kColumn("\n  `");
  static const std::string kCollate(" COLLATE ");
  std::string result;
  size_t copied = 0;
  for (size_t line = body.find(kColumn); line != std::string::npos; line = body.find(kColumn, line + 1)) {
    size_t at = line + kColumn.size();
    while (at < body.size() && (body[at] != '`' || (at + 1 < body.size() && body[at + 1] == '`'))) at += body[at] == '`' ? 2 : 1;
    at += 2;
    while (at < body.size() && my_isalnum(&my_charset_latin1, body[at])) ++at;
    if (at < body.size() && body[at] == '(') {
      bool quoted = false;
      for (; at < body.size() && (quoted || body[at] != ')'); ++at) quoted = quoted != (body[at] == '\'');
      ++at;
    }
    if (body.compare(std::min(at, body.size()), kCollate.size(), kCollate) != 0) continue;
    result.append(body, copied, at - copied);
    copied = std::min(body.find_first_of(" ,\n", at + kCollate.size()), body.size());
  }
  return result.append(body, copied, std::string::npos);
}

void TableVersions::bump(const Name &table) {
  const std::lock_guard<std::mutex> guard(m_gate);
  ++m_versions[table];
}

uint64_t TableVersions::of(const Name &table) {
  const std::lock_guard<std::mutex> guard(m_gate);
  return of_locked(table);
}

uint64_t TableVersions::of_locked(const Name &table) const {
  const auto found = m_versions.find(table);
  return found == m_versions.end() ? 0 : found->second;
}

TableVersions &table_versions() {
  static TableVersions versions;
  return versions;
}

}  // namespace smartengine::catalog
