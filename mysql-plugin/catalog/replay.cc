#include "catalog/replay.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <thread>
#include <tuple>
#include <vector>

#include "base/error_map.h"
#include "base/log.h"
#include "catalog/definition.h"
#include "catalog/reader.h"
#include "catalog/rights.h"
#include "catalog/store.h"
#include "catalog/tables.h"
#include "catalog/text.h"
#include "catalog/unloaded_plugin.h"
#include "compat.h"
#include "my_thread.h"
#include "mysqld_error.h"

namespace smartengine::catalog {

namespace {

/// The server flushes InnoDB's log at each CREATE TABLE, whatever innodb_flush_log_at_trx_commit says. Sessions that wait for the same flush share
/// it: their number is one of flushes saved, not of processors.
constexpr size_t kMostSessions = 8;
constexpr size_t kTablesPerSession = 4;

/// One after the other, for a message.
void append_item(const std::string &item, const char *between, std::string *list) {
  if (!list->empty()) *list += between;
  *list += item;
}

class Replay {
 public:
  /// `in_step`: this server has all that the catalog says, but for what the last replay could not make.
  Replay(SqlSession &session, bool in_step) : m_session(session), m_in_step(in_step) {}

  bool list_present();
  void load(bool failed_only);
  bool is_empty() const;
  void leave(const std::set<Name> &defined_anew);
  void drop_stale(bool was_in_step);
  void drop_initialised_account();
  void make_all();
  ReplayResult finish();

 private:
  bool run(const std::string &sql) { return m_session.run(sql); }
  bool is_present(const Name &name) const { return m_present.count(name) != 0; }
  bool is_same(const Entry &entry);
  bool drop(const Name &name);
  void drop_changed_tables();
  void list_triggers_again();
  void fail(const Entry &entry, const std::string &why);
  void succeed(const Entry &entry);
  void mark(const Entry &entry, bool not_replayed);
  void make_each(Kind kind, bool (Replay::*make)(const Entry &));
  void make_missing_schemas();
  void make_tables();
  using Make = std::function<bool(const Entry &)>;
  using Fail = std::function<void(const Entry &)>;
  void make_in_any_order(std::vector<Entry> left, const Make &make, const Fail &failed);
  void make_views();
  void make_accounts();
  bool make_schema(const Entry &entry);
  bool make_table(SqlSession &session, const Entry &entry, std::string *why);
  bool run_definition(const Entry &entry);
  bool make_stored(const Entry &entry);
  bool make_view(const Entry &entry);
  bool make_account(const Entry &entry);
  bool make_account_by(const Entry &entry, const std::string &create);
  bool has_plugin(const std::string &plugin);
  bool is_made_but_for_rights(const Entry &entry);
  bool grant(const Entry &entry);
  void grant_one_by_one(const Entry &entry, const Rights &rights);
  void grant_companions(const Entry &entry);
  void take_back(const Entry &entry);
  bool was_granted(const std::string &right, uint32_t server_version) const;
  bool restore_plugin(const Entry &entry);
  void fail_grants(const Entry &entry);
  void set_default_roles(const Entry &entry);
  void grant_roles_again(const Entry &entry);
  void make_read_only();
  bool enter_schema(const Entry &entry);
  void leave_schema(const Entry &entry);

  SqlSession &m_session;
  const bool m_in_step;
  std::map<Kind, std::vector<Entry>> m_entries;
  std::set<Name> m_unreadable;                                ///< Entries that are there and cannot be decoded.
  std::map<Name, std::string> m_present;                      ///< With the engine of tables.
  std::map<uint32_t, std::set<std::string>> m_global_rights;  ///< Of any account in the catalog, by the series that it was defined under.
  std::map<Name, std::string> m_restores;                     ///< What is left to do for accounts whose plugin is not loaded.
  std::set<Name> m_changed_rights;        ///< Accounts that have other rights than the catalog says, as an upgrade gives them.
  std::map<Name, std::string> m_unknown;  ///< Rights that this server does not know, of accounts.
  std::map<std::string, std::string> m_schema_collations;
  std::string m_why;
  ReplayResult m_result;
};

bool Replay::list_present() {
  std::vector<Listed> listed;
  if (!list_all(m_session, &listed)) {
    log::error("catalog: the server's dictionary cannot be listed: " + m_session.message());
    return false;
  }
  for (Listed &object : listed) m_present[object.name] = object.engine;
  return true;
}

void Replay::load(bool failed_only) {
  for (auto kind = static_cast<uint8_t>(Kind::kSchema); kind <= static_cast<uint8_t>(Kind::kAccount); ++kind) {
    std::vector<Entry> entries = all(static_cast<Kind>(kind), {}, &m_unreadable);
    if (failed_only) {
      entries.erase(
          std::remove_if(entries.begin(), entries.end(), [](const Entry &entry) { return (entry.flags & Entry::kNotReplayed) == 0; }),
          entries.end());
    }
    m_entries[static_cast<Kind>(kind)] = std::move(entries);
  }
  std::vector<Entry> &triggers = m_entries[Kind::kTrigger];
  std::stable_sort(triggers.begin(), triggers.end(), [](const Entry &a, const Entry &b) {
    return std::tie(a.name.schema, a.field(5), a.field(6)) < std::tie(b.name.schema, b.field(5), b.field(6));
  });
}

bool Replay::is_empty() const {
  return std::all_of(m_entries.begin(), m_entries.end(), [](const auto &entries) { return entries.second.empty(); });
}

/// What statements have named meanwhile is from now on what they made of it.
void Replay::leave(const std::set<Name> &defined_anew) {
  std::vector<Entry> left;
  for (Entry &entry : m_entries[Kind::kAccount]) {
    if (defined_anew.count(entry.name) != 0)
      mark(entry, false);
    else
      left.push_back(std::move(entry));
  }
  m_entries[Kind::kAccount] = std::move(left);
}

/// Whether the server has exactly this.
bool Replay::is_same(const Entry &entry) {
  Entry present;
  if (read(m_session, entry.name, &present) != Found::kYes) return false;
  if (entry.name.kind == Kind::kTable) present.table_id = bound_id(m_session.thd(), entry.name);
  return same_definition(present, entry);
}

bool Replay::drop(const Name &name) {
  if (!run(drop_statement(name))) {
    log::error("catalog: " + describe(name) + " cannot be dropped: " + m_session.message());
    return false;
  }
  m_present.erase(name);
  ++m_result.dropped;
  return true;
}

/// Tables whose definition or indexes have changed since cannot even be opened: they go first, and their triggers with them.
void Replay::drop_changed_tables() {
  bool dropped = false;
  for (const Entry &entry : m_entries[Kind::kTable]) {
    const auto present = m_present.find(entry.name);
    if (present == m_present.end() || present->second != "SMARTENGINE" || is_same(entry)) continue;
    dropped = drop(entry.name) || dropped;
  }
  if (dropped) list_triggers_again();
}

void Replay::list_triggers_again() {
  for (auto at = m_present.begin(); at != m_present.end();) at = at->first.kind == Kind::kTrigger ? m_present.erase(at) : std::next(at);
  std::vector<Listed> listed;
  if (!list(m_session, Kind::kTrigger, &listed)) log::error("catalog: triggers cannot be listed: " + m_session.message());
  for (const Listed &trigger : listed) m_present[trigger.name] = {};
}

/// What another server has dropped or changed since this disk was in step.
void Replay::drop_stale(bool was_in_step) {
  std::set<Name> wanted = m_unreadable;
  for (const auto &[kind, entries] : m_entries) {
    for (const Entry &entry : entries) wanted.insert(entry.name);
  }
  // Schemas that are read only take no change.
  for (const auto &[name, engine] : m_present) {
    if (name.kind == Kind::kSchema) run("ALTER DATABASE " + quoted_name(name.schema) + " READ ONLY = 0");
  }
  drop_changed_tables();
  if (!was_in_step) return;
  // Triggers go with their tables; of the rest, what hangs on others goes first.
  for (const Kind kind : {Kind::kTable, Kind::kAccount, Kind::kEvent, Kind::kTrigger, Kind::kView, Kind::kProcedure, Kind::kFunction,
                          Kind::kLibrary, Kind::kSchema}) {
    std::vector<Name> stale;
    for (const auto &[name, engine] : m_present) {
      if (name.kind != kind || wanted.count(name) != 0) continue;
      if (kind == Kind::kTable && engine != "SMARTENGINE") continue;
      const bool has_others = kind == Kind::kSchema && std::any_of(m_present.begin(), m_present.end(), [&](const auto &other) {
                                return other.first.kind == Kind::kTable && other.first.schema == name.schema;
                              });
      if (has_others) {
        log::information("catalog: " + describe(name) + " was dropped elsewhere, and stays here for its tables of other engines");
        continue;
      }
      stale.push_back(name);
    }
    for (const Name &name : stale) drop(name);
    if (kind == Kind::kTable && !stale.empty()) list_triggers_again();
  }
}

/// On a disk that the store has not met, root@localhost is what initialisation made, perhaps without a password. A store that has accounts and not this one
/// is that of a server whose administrator had dropped or renamed it.
void Replay::drop_initialised_account() {
  const std::vector<Entry> &accounts = m_entries[Kind::kAccount];
  const auto own = std::find_if(m_present.begin(), m_present.end(),
                                [](const auto &object) { return object.first.kind == Kind::kAccount && is_servers_own(object.first); });
  if (accounts.empty() || own == m_present.end() || m_unreadable.count(own->first) != 0) return;
  if (std::any_of(accounts.begin(), accounts.end(), [](const Entry &entry) { return is_servers_own(entry.name); })) return;
  const Name name = own->first;
  log::warning("catalog: " + describe(name) +
               ", which this server's initialisation made, is not in the store, which has other accounts: it is dropped");
  drop(name);
}

void Replay::fail(const Entry &entry, const std::string &why) {
  std::string text = "catalog: " + describe(entry.name) + " could not be made again: " + why;
  if (is_of_another_series(entry)) text += " (it was defined under MySQL " + dotted(entry.server_version) + ')';
  log::error(text);
  mark(entry, true);
}

/// What could not be made stays in the catalog as it is, whatever this server has of it, until it can be made or is defined anew.
void Replay::mark(const Entry &entry, bool not_replayed) {
  if (not_replayed) ++m_result.failed;
  if (((entry.flags & Entry::kNotReplayed) != 0) == not_replayed) return;
  Entry marked = entry;
  marked.flags = static_cast<uint8_t>(not_replayed ? entry.flags | Entry::kNotReplayed : entry.flags & ~Entry::kNotReplayed);
  Change change;
  if (change.put(marked) != 0 || change.commit() != 0) log::error("catalog: " + describe(entry.name) + ": " + last_error_message());
}

void Replay::succeed(const Entry &entry) {
  // What has become another definition is read again, and kept as this server has it.
  if (m_changed_rights.count(entry.name) == 0) m_result.in_step.insert(entry.name);
  mark(entry, false);
}

void Replay::make_each(Kind kind, bool (Replay::*make)(const Entry &)) {
  for (const Entry &entry : m_entries[kind]) {
    m_session.use_defaults();
    m_why.clear();
    if ((this->*make)(entry))
      succeed(entry);
    else
      fail(entry, m_why.empty() ? m_session.message() : m_why);
  }
  m_session.use_defaults();
}

bool Replay::make_schema(const Entry &entry) {
  if (is_present(entry.name)) {
    if (is_same(entry)) return true;
    std::string alter = entry.field(0);
    if (alter.compare(0, 6, "CREATE") != 0) return false;
    return run("ALTER" + alter.substr(6));
  }
  ++m_result.made;
  return run(entry.field(0));
}

/// A table writes itself into the catalog, its schema only where a server was attached.
void Replay::make_missing_schemas() {
  std::set<std::string> known;
  for (const auto &[name, engine] : m_present) {
    if (name.kind == Kind::kSchema) known.insert(name.schema);
  }
  for (const Entry &entry : m_entries[Kind::kSchema]) known.insert(entry.name.schema);
  for (const Entry &entry : m_entries[Kind::kTable]) {
    if (!known.insert(entry.name.schema).second) continue;
    log::warning("catalog: the store has tables of schema " + entry.name.schema +
                 " and not its definition: it is made with this server's default character set");
    if (!run("CREATE DATABASE IF NOT EXISTS " + quoted_name(entry.name.schema)))
      log::error("catalog: schema " + entry.name.schema + " could not be made: " + m_session.message());
    ++m_result.made;
  }
}

bool Replay::make_table(SqlSession &session, const Entry &entry, std::string *why) {
  Attaching::bind(entry.table_id);
  if (session.run("CREATE TABLE " + full_name(entry.name) + without_inherited_collations(entry.field(0)))) return true;
  *why = session.message();
  return false;
}

/// Tables do not depend on each other: they are made in several sessions at once.
void Replay::make_tables() {
  std::vector<const Entry *> wanted;
  for (const Entry &entry : m_entries[Kind::kTable]) {
    const auto present = m_present.find(entry.name);
    if (present != m_present.end() && present->second != "SMARTENGINE")
      fail(entry, "a table of this name, of engine " + present->second + ", is in its place");
    else if (present != m_present.end())
      succeed(entry);
    else
      wanted.push_back(&entry);
  }
  std::vector<std::string> reasons(wanted.size());
  std::vector<char> made(wanted.size(), 0);
  std::atomic<size_t> next{0};
  const auto make_some = [&](SqlSession &session) {
    for (size_t i = next.fetch_add(1); i < wanted.size(); i = next.fetch_add(1))
      made[i] = make_table(session, *wanted[i], &reasons[i]) ? 1 : 0;
  };
  std::vector<std::thread> others;
  while (others.size() + 1 < std::min(kMostSessions, wanted.size() / kTablesPerSession)) {
    others.emplace_back([&] {
      my_thread_init();
      {
        SqlSession session;
        const Attaching attaching;
        make_some(session);
      }
      my_thread_end();
    });
  }
  make_some(m_session);
  for (std::thread &other : others) other.join();
  for (size_t i = 0; i < wanted.size(); ++i) {
    ++m_result.made;
    if (made[i] != 0)
      succeed(*wanted[i]);
    else
      fail(*wanted[i], reasons[i]);
  }
}

/// A definition is made in its schema, whose collation was perhaps another one when it was written.
bool Replay::enter_schema(const Entry &entry) {
  if (!run("USE " + quoted_name(entry.name.schema))) return false;
  std::string &collation = m_schema_collations[entry.name.schema];
  if (collation.empty()) {
    if (!run("SELECT @@collation_database") || m_session.rows().empty()) return false;
    collation = m_session.rows()[0][0].value_or("");
  }
  const std::string &wanted = entry.field(4);
  return wanted.empty() || wanted == collation || run("ALTER DATABASE " + quoted_name(entry.name.schema) + " COLLATE " + wanted);
}

void Replay::leave_schema(const Entry &entry) {
  const std::string &collation = m_schema_collations[entry.name.schema];
  const std::string &wanted = entry.field(4);
  if (!wanted.empty() && wanted != collation) run("ALTER DATABASE " + quoted_name(entry.name.schema) + " COLLATE " + collation);
}

/// Runs the definition of a routine, trigger or event as its client would.
bool Replay::run_definition(const Entry &entry) {
  if (!enter_schema(entry)) return false;
  if (entry.name.kind == Kind::kEvent) run("SET time_zone = " + quoted_text(entry.field(5)));
  if (!m_session.use_sql_mode(entry.field(1))) {
    // Under another sql_mode it might be another definition.
    m_why = "its sql_mode is not this server's: " + m_session.message();
    m_session.use_defaults();
    leave_schema(entry);
    return false;
  }
  const Statement statement = statement_of(entry);
  if (entry.name.kind != Kind::kLibrary) m_session.use_charsets(statement.client, entry.field(3));
  const bool done = run(statement.sql);
  m_why = m_session.message();
  m_session.use_defaults();
  leave_schema(entry);
  if (entry.name.kind == Kind::kEvent) run("SET time_zone = '+00:00'");
  return done;
}

bool Replay::make_stored(const Entry &entry) {
  if (is_present(entry.name)) {
    if (is_same(entry)) return true;
    if (!drop(entry.name)) return false;
  }
  ++m_result.made;
  if (!run_definition(entry)) return false;
  const bool runs_once = entry.name.kind == Kind::kEvent && find_unquoted(entry.field(0), " ON SCHEDULE AT ", 0) != std::string::npos;
  if (!runs_once || is_same(entry)) return true;
  // CREATE EVENT drops or disables it if its time has passed meanwhile. On the disk that was lost it would have run at the server's next start: it
  // is made as if long ago.
  if (!run("DROP EVENT IF EXISTS " + full_name(entry.name)) || !run("SET timestamp = 1")) return false;
  const bool done = run_definition(entry);
  run("SET timestamp = DEFAULT");
  return done;
}

bool Replay::make_view(const Entry &entry) {
  const bool present = is_present(entry.name);
  if (present && is_same(entry)) return true;
  // Functions are called there without their schema's name.
  if (!run("USE " + quoted_name(entry.name.schema))) {
    m_why = m_session.message();
    return false;
  }
  m_session.use_charsets(entry.field(1), entry.field(2));
  std::string create = entry.field(0);
  if (present && create.compare(0, 7, "CREATE ") == 0) create.insert(6, " OR REPLACE");
  const bool done = run(create);
  m_why = m_session.message();
  m_session.use_defaults();
  return done;
}

/// For what needs others of its kind, such as a view of views: what fails is tried again for as long as others succeed. `failed` finds the reason of
/// each in `m_why`.
void Replay::make_in_any_order(std::vector<Entry> left, const Make &make, const Fail &failed) {
  std::vector<std::string> reasons;
  while (!left.empty()) {
    std::vector<Entry> again;
    reasons.clear();
    for (const Entry &entry : left) {
      m_session.use_defaults();
      if (make(entry)) {
        succeed(entry);
      } else {
        again.push_back(entry);
        reasons.push_back(m_why);
      }
    }
    if (again.size() == left.size()) break;
    left = std::move(again);
  }
  for (size_t i = 0; i < left.size(); ++i) {
    m_why = reasons[i];
    failed(left[i]);
  }
}

void Replay::make_views() {
  make_in_any_order(
      std::move(m_entries[Kind::kView]),
      [this](const Entry &entry) {
        if (!make_view(entry)) return false;
        ++m_result.made;
        return true;
      },
      [this](const Entry &entry) { fail(entry, m_why); });
}

/// Makes it, or makes it what it has to be; `create` is its CREATE USER.
bool Replay::make_account_by(const Entry &entry, const std::string &create) {
  if (!is_present(entry.name)) return run(create);
  // The server's own account may have rights that another version does not know, and what it has too much is taken back one by one. From others what was
  // taken goes with them, unless the account is known to have no more than it should: a drop takes a role from all who have it.
  const bool only_gains = m_in_step || (is_of_another_series(entry) && is_servers_own(entry.name));
  if (!only_gains) return drop(entry.name) && run(create);
  if (create.compare(0, 7, "CREATE ") != 0 || !run("ALTER " + create.substr(7))) return false;
  // ALTER USER has a password expire that is given with its plugin alone, as an empty one is.
  return is_expired(create) || run("UPDATE mysql.user SET password_expired = 'N' WHERE User = " + quoted_text(entry.name.name) +
                                   " AND Host = " + quoted_text(entry.name.schema));
}

/// Whether accounts can log in by it.
bool Replay::has_plugin(const std::string &plugin) {
  return run("SELECT '' FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_NAME "
             "= " +
             quoted_text(plugin)) &&
         !m_session.rows().empty();
}

/// Whether an earlier start has made it, and what it could not grant alone is to be tried again.
bool Replay::is_made_but_for_rights(const Entry &entry) {
  Entry present;
  return (entry.flags & Entry::kNotReplayed) != 0 && is_present(entry.name) && read(m_session, entry.name, &present) == Found::kYes &&
         present.field(0) == entry.field(0);
}

bool Replay::make_account(const Entry &entry) {
  ++m_result.made;
  Unloaded unloaded;
  const bool is_loaded = !withhold_plugin(entry, &unloaded) || has_plugin(unloaded.plugin);
  if (is_loaded && is_made_but_for_rights(entry)) return true;
  if (!make_account_by(entry, is_loaded ? entry.field(0) : unloaded.create)) {
    m_why = m_session.message();
    return false;
  }
  if (is_loaded) return true;
  log::warning(
      "catalog: " + describe(entry.name) + " logs in by the plugin " + unloaded.plugin +
      ", which this server has not loaded: nobody can use it until that is loaded, or until ALTER USER gives it another plugin and "
      "password");
  m_restores[entry.name] = std::move(unloaded.restore);
  return true;
}

/// Grants what it can of a list that was refused as a whole.
void Replay::grant_one_by_one(const Entry &entry, const Rights &rights) {
  for (const std::string &right : rights.list) {
    if (rights.list.size() > 1 && run(rights.statement(right))) continue;
    const bool unknown = m_session.error() == ER_SYNTAX_ERROR && rights.is_global();
    const std::string message = m_session.message();
    const std::vector<std::string> others = unknown ? successors(right) : std::vector<std::string>();
    bool done = !others.empty();
    for (const std::string &other : others) done = run(rights.statement(other)) && done;
    if (done) {
      m_changed_rights.insert(entry.name);
    } else if (unknown) {
      append_item(right, ", ", &m_unknown[entry.name]);
    } else {
      append_item(message + ", in: " + rights.statement(right), "; ", &m_why);
    }
  }
}

/// Whether any account had a right, as far as servers of that series and older ones knew it.
bool Replay::was_granted(const std::string &right, uint32_t server_version) const {
  return std::any_of(m_global_rights.begin(), m_global_rights.end(),
                     [&](const auto &rights) { return rights.first <= series(server_version) && rights.second.count(right) != 0; });
}

/// What MySQL's upgrade grants to those who could do it by another right before there was one for it. That others have it by now, as an earlier replay
/// gave it to them, takes nothing from one who is kept as an older server defined it.
void Replay::grant_companions(const Entry &entry) {
  for (const std::string &sql : entry.fields) {
    Rights rights;
    if (!parse_rights(sql, &rights) || !rights.is_global()) continue;
    for (const std::string &right : rights.list) {
      for (const std::string &companion : companions(right)) {
        if (!was_granted(companion, entry.server_version) && run(rights.statement(companion))) m_changed_rights.insert(entry.name);
      }
    }
  }
}

/// What initialisation has given to the server's own account and the store's does not have, although its server knew the right: there it was taken from it.
/// New rights stay if the account has what they come from.
void Replay::take_back(const Entry &entry) {
  Entry present;
  if (read(m_session, entry.name, &present) != Found::kYes) return append_item(m_session.message(), "; ", &m_why);
  const auto revoke = [&](const std::string &what) {
    if (!run("REVOKE " + what + " FROM " + account_name(entry.name)))
      append_item(m_session.message() + ", at REVOKE " + what, "; ", &m_why);
  };
  const Account stored = account_rights(entry), now = account_rights(present);
  for (const std::string &right : now.global) {
    if (stored.global.count(right) != 0) continue;
    const std::vector<std::string> origins = origins_of_new(right, entry.server_version);
    const bool is_kept =
        std::any_of(origins.begin(), origins.end(), [&](const std::string &origin) { return stored.global.count(origin) != 0; });
    if (!is_kept) revoke(right + " ON *.*");
  }
  if (now.grants && !stored.grants) revoke("GRANT OPTION ON *.*");
  if (now.proxies && !stored.proxies) revoke("PROXY ON ''@''");
}

bool Replay::grant(const Entry &entry) {
  const size_t remainder = strtoull(entry.field(2).c_str(), nullptr, 10);
  m_why.clear();
  m_unknown.erase(entry.name);
  for (size_t i = 3; i < entry.fields.size(); ++i) {
    if (i >= 3 + remainder && entry.field(i).compare(0, 7, "REVOKE ") == 0) run("SET GLOBAL partial_revokes = ON");
    if (run(entry.field(i))) continue;
    Rights rights;
    if (i >= 3 + remainder && parse_rights(entry.field(i), &rights))
      grant_one_by_one(entry, rights);
    else
      append_item(m_session.message() + ", in: " + entry.field(i), "; ", &m_why);
  }
  if (is_of_another_series(entry)) grant_companions(entry);
  if (is_of_another_series(entry) && is_servers_own(entry.name) && !m_in_step) take_back(entry);
  return m_why.empty() && m_unknown.count(entry.name) == 0;
}

/// After all grants, and before the catalog says that the account is made: what a crash leaves in between would be taken for its definition.
bool Replay::restore_plugin(const Entry &entry) {
  const auto found = m_restores.find(entry.name);
  if (found == m_restores.end() || run(found->second)) return true;
  append_item("its plugin cannot be set: " + m_session.message(), "; ", &m_why);
  return false;
}

/// The account is there, and lacks some of what it was granted.
void Replay::fail_grants(const Entry &entry) {
  restore_plugin(entry);
  if (const auto unknown = m_unknown.find(entry.name); unknown != m_unknown.end()) {
    log::warning("catalog: " + describe(entry.name) + " is made without " + unknown->second +
                 ": this server has no such privileges, as long as no component brings them");
  }
  if (!m_why.empty()) return fail(entry, m_why);
  mark(entry, true);
}

void Replay::set_default_roles(const Entry &entry) {
  if (entry.field(1).empty()) return;
  if (!run("ALTER USER " + account_name(entry.name) + " DEFAULT ROLE " + entry.field(1))) {
    log::error("catalog: default roles of " + describe(entry.name) + ": " + m_session.message());
  }
}

/// A role that is dropped to be made anew is lost to those to whom it was granted: accounts that are otherwise as they should be are granted it again.
void Replay::grant_roles_again(const Entry &entry) {
  for (size_t i = 3; i < entry.fields.size(); ++i) {
    const std::string &sql = entry.field(i);
    const bool grants_roles = sql.compare(0, 6, "GRANT ") == 0 && find_unquoted(sql, " ON ", 0) == std::string::npos;
    if (grants_roles && !run(sql)) log::error("catalog: roles of " + describe(entry.name) + ": " + m_session.message());
  }
  set_default_roles(entry);
}

void Replay::make_accounts() {
  if (m_entries[Kind::kAccount].empty()) return;
  for (const Entry &entry : all(Kind::kAccount)) m_global_rights[series(entry.server_version)].merge(account_rights(entry).global);
  std::vector<Entry> changed, same;
  for (const Entry &entry : m_entries[Kind::kAccount]) {
    if (is_present(entry.name) && is_same(entry))
      same.push_back(entry);
    else
      changed.push_back(entry);
  }
  std::vector<Entry> made;
  for (const Entry &entry : changed) {
    if (make_account(entry))
      made.push_back(entry);
    else
      fail(entry, m_why);
  }
  // Rights on columns of a view need those of its definer, who has them directly or by a role.
  make_in_any_order(
      made,
      [this](const Entry &entry) {
        const bool granted = grant(entry);
        set_default_roles(entry);
        return granted && restore_plugin(entry);
      },
      [this](const Entry &entry) { fail_grants(entry); });
  for (const Entry &entry : same) {
    if (!made.empty()) grant_roles_again(entry);
    succeed(entry);
  }
  if (!made.empty() && !run("FLUSH PRIVILEGES")) log::error("catalog: FLUSH PRIVILEGES: " + m_session.message());
}

void Replay::make_read_only() {
  for (const Entry &entry : all(Kind::kSchema)) {
    if (is_read_only(entry)) run("ALTER DATABASE " + quoted_name(entry.name.schema) + " READ ONLY = 1");
  }
}

void Replay::make_all() {
  make_each(Kind::kSchema, &Replay::make_schema);
  make_missing_schemas();
  make_tables();
  for (const Kind kind : {Kind::kLibrary, Kind::kFunction, Kind::kProcedure}) make_each(kind, &Replay::make_stored);
  make_views();
  for (const Kind kind : {Kind::kTrigger, Kind::kEvent}) make_each(kind, &Replay::make_stored);
  make_accounts();
  make_read_only();
}

ReplayResult Replay::finish() { return std::move(m_result); }

}  // namespace

ReplayResult replay(SqlSession &session, bool was_in_step) {
  const Attaching attaching;
  Replay replay(session, false);
  if (!replay.list_present()) {
    ReplayResult result;
    result.complete = false;
    return result;
  }
  replay.load(false);
  replay.drop_stale(was_in_step);
  if (!was_in_step) replay.drop_initialised_account();
  replay.make_all();
  return replay.finish();
}

ReplayResult replay_failed(SqlSession &session, const std::set<Name> &defined_anew) {
  const Attaching attaching;
  Replay replay(session, true);
  replay.load(true);
  replay.leave(defined_anew);
  if (replay.is_empty()) return {};
  if (!replay.list_present()) {
    ReplayResult result;
    result.complete = false;
    return result;
  }
  replay.drop_stale(false);
  replay.make_all();
  return replay.finish();
}

}  // namespace smartengine::catalog
