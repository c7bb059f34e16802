#include "catalog/capture.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/error_map.h"
#include "base/log.h"
#include "catalog/gtid.h"
#include "catalog/reader.h"
#include "catalog/store.h"
#include "catalog/tables.h"
#include "compat.h"
#include "my_sys.h"
#include "my_thread.h"
#include "server/handlerton.h"
#include "session/durability.h"
#include "session/locks_released.h"
#include "sql/auth/acl_change_notification.h"
#include "sql/mdl.h"
#include "sql/mysqld.h"
#include "sql/sql_error.h"
#include "sql/sql_lex.h"

namespace smartengine::catalog {

namespace {

constexpr std::chrono::seconds kLongestWait{30};
constexpr std::chrono::seconds kGtidInterval{1};
constexpr std::chrono::milliseconds kShortestPause{250};
constexpr std::chrono::milliseconds kLongestPause{30000};

/// What a capture has found out and will write.
class Batch {
 public:
  /// A `quiet` one says nothing of what it cannot do: it was said before.
  Batch(SqlSession &session, bool quiet) : m_session(session), m_quiet(quiet) {}

  /// Reads the object and notes what differs from the catalog; false if it must be tried again.
  bool take(const Name &name);
  /// Writes it; false if it must all be tried again.
  bool write();

 private:
  bool take_relation(const Name &name);
  bool take_triggers(const Name &table, bool exists);
  bool take_one(const Name &name);
  void put(Entry entry);
  void remove(const Name &name);
  void remove_table(const Name &name);
  void remove_schema(const std::string &schema);
  void remove_named(const Name &name);
  void report(const char *what, const Name &name);

  SqlSession &m_session;
  const bool m_quiet;
  std::map<Name, Entry> m_puts;
  std::set<Name> m_removals;
  std::map<Name, uint64_t> m_versions;  ///< Of the tables among them, from before they were read.
};

void Batch::report(const char *what, const Name &name) {
  if (!m_quiet) log::warning(std::string("catalog: ") + what + ' ' + describe(name) + ", tried again later: " + m_session.message());
}

void Batch::put(Entry entry) {
  m_removals.erase(entry.name);
  std::optional<Entry> stored;
  if (find(entry.name, &stored) == 0 && stored && same_definition(*stored, entry) && stored->flags == entry.flags) {
    m_puts.erase(entry.name);
    return;
  }
  const Name name = entry.name;
  m_puts.insert_or_assign(name, std::move(entry));
}

void Batch::remove(const Name &name) {
  m_puts.erase(name);
  std::optional<Entry> stored;
  if (find(name, &stored) != 0 || stored) m_removals.insert(name);
}

/// That a table which could not be made again is not there says nothing. One of another engine may have had its name.
void Batch::remove_table(const Name &name) {
  std::optional<Entry> stored;
  if (find(name, &stored) == 0 && stored && (stored->flags & Entry::kNotReplayed) != 0) return;
  remove(name);
}

void Batch::remove_schema(const std::string &schema) {
  for (auto kind = static_cast<uint8_t>(Kind::kSchema); kind < static_cast<uint8_t>(Kind::kAccount); ++kind) {
    for (const Entry &entry : all(static_cast<Kind>(kind), schema)) m_removals.insert(entry.name);
  }
}

/// The server names what is gone in any letter case.
void Batch::remove_named(const Name &name) {
  for (const Entry &entry : all(name.kind, name.schema)) {
    if (my_strcasecmp(system_charset_info, entry.name.name.c_str(), name.name.c_str()) == 0) remove(entry.name);
  }
}

bool Batch::take_one(const Name &name) {
  Entry entry;
  switch (read(m_session, name, &entry)) {
    case Found::kYes:
      put(std::move(entry));
      return true;
    case Found::kNo:
      if (name.kind == Kind::kSchema)
        remove_schema(name.schema);
      else if (name.kind == Kind::kAccount)
        remove(name);
      else
        remove_named(name);
      return true;
    default:
      report("cannot read", name);
      return false;
  }
}

/// One that could not be made again is not the server's to drop, as long as its table is there.
bool Batch::take_triggers(const Name &table, bool exists) {
  std::vector<Name> names;
  if (!list_triggers(m_session, table.schema, table.name, &names)) {
    report("cannot list the triggers of", table);
    return false;
  }
  for (const Entry &entry : all(Kind::kTrigger, table.schema)) {
    const bool kept = exists && (entry.flags & Entry::kNotReplayed) != 0;
    if (entry.field(5) == table.name && !kept && std::find(names.begin(), names.end(), entry.name) == names.end()) remove(entry.name);
  }
  bool done = true;
  for (const Name &name : names) done = take_one(name) && done;
  return done;
}

bool Batch::take_relation(const Name &name) {
  const Name table{Kind::kTable, name.schema, name.name};
  const Name view{Kind::kView, name.schema, name.name};
  m_versions[table] = table_versions().of(table);
  Entry entry;
  const Found found = read(m_session, table, &entry);
  if (found == Found::kFailed) {
    report("cannot read", table);
    return false;
  }
  if (found == Found::kElsewhere) {
    log::information(describe(table) + " is of engine " + entry.field(0) + ": it stays on this server's disk");
  }
  if (found != Found::kYes || entry.name.kind != Kind::kView) remove(view);
  if (found != Found::kYes || entry.name.kind != Kind::kTable) remove_table(table);
  if (found == Found::kYes && entry.name.kind == Kind::kTable) {
    entry.table_id = bound_id(m_session.thd(), table);
    put(std::move(entry));
  } else if (found == Found::kYes) {
    put(std::move(entry));
    return true;
  }
  return take_triggers(table, found != Found::kNo);
}

bool Batch::take(const Name &name) { return name.kind == Kind::kTable || name.kind == Kind::kView ? take_relation(name) : take_one(name); }

bool Batch::write() {
  // No table may change between here and the commit: it would be given back the definition it had when it was read.
  const std::lock_guard<std::mutex> gate(table_versions().gate());
  for (const auto &[table, version] : m_versions) {
    if (table_versions().of_locked(table) != version) return false;
  }
  Change change;
  int error = 0;
  for (const Name &name : m_removals) error = error != 0 ? error : change.remove(name);
  for (const auto &[name, entry] : m_puts) error = error != 0 ? error : change.put(entry);
  gtid::Adoption gtids;
  if (error == 0) error = gtids.add(change, executed_gtids());
  if (error == 0) error = m_puts.empty() && m_removals.empty() ? change.commit_quietly() : change.commit();
  if (error == 0) gtids.done();
  if (error != 0 && !m_quiet) log::error("catalog: definitions could not be kept, tried again later: " + last_error_message());
  return error == 0;
}

/// The thread, and what it is to do.
class Capture {
 public:
  void start();
  bool stop();
  bool running() {
    const std::lock_guard<std::mutex> guard(m_mutex);
    return m_running;
  }

  void note(const Name &name);
  void note_all_accounts();
  /// Waits until all that was noted so far has been tried; false if that takes too long.
  bool wait();

 private:
  void run();
  bool work(SqlSession &session, std::set<Name> names, bool accounts, bool quiet);

  std::mutex m_mutex;
  std::condition_variable m_wake;
  std::condition_variable m_progress;
  std::set<Name> m_names;
  bool m_accounts = false;
  uint64_t m_noted = 0;  ///< Notes so far.
  uint64_t m_tried = 0;  ///< Of these, those that were tried.
  bool m_running = false;
  bool m_stopping = false;
  bool m_complete = true;
  std::thread m_thread;
};

Capture &capture() {
  static Capture instance;
  return instance;
}

void Capture::note(const Name &name) {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (!m_running) return;
  m_names.insert(name);
  ++m_noted;
  m_wake.notify_one();
}

void Capture::note_all_accounts() {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (!m_running) return;
  m_accounts = true;
  ++m_noted;
  m_wake.notify_one();
}

bool Capture::wait() {
  std::unique_lock<std::mutex> lock(m_mutex);
  const uint64_t mine = m_noted;
  return m_progress.wait_for(lock, kLongestWait, [&] { return m_tried >= mine || !m_running; });
}

/// Everything that could not be done is noted again.
bool Capture::work(SqlSession &session, std::set<Name> names, bool accounts, bool quiet) {
  bool done = true;
  const bool routines = std::any_of(names.begin(), names.end(), [](const Name &name) {
    return name.kind == Kind::kFunction || name.kind == Kind::kProcedure || name.kind == Kind::kSchema;
  });
  // Of libraries the server tells nothing; routines use them.
  if (kHasLibraries && routines) {
    std::vector<Listed> listed;
    done = list(session, Kind::kLibrary, &listed);
    for (const Listed &library : listed) names.insert(library.name);
    for (const Entry &entry : all(Kind::kLibrary)) names.insert(entry.name);
  }
  if (accounts) {
    std::vector<Listed> listed;
    done = list(session, Kind::kAccount, &listed) && done;
    for (const Listed &account : listed) names.insert(account.name);
    // Those that are gone are read too, and not found.
    for (const Entry &entry : all(Kind::kAccount)) names.insert(entry.name);
  }
  Batch batch(session, quiet);
  std::set<Name> again;
  for (const Name &name : names) {
    if (!batch.take(name)) again.insert(name);
  }
  if (failpoint("catalog.before_capture") || !batch.write()) again = std::move(names);
  if (done && again.empty()) return true;
  const std::lock_guard<std::mutex> guard(m_mutex);
  m_names.merge(again);
  m_accounts = m_accounts || !done;
  return false;
}

/// Of what has a GTID and writes nothing here.
void keep_gtids() { guarded(gtid::keep); }

void Capture::run() {
  my_thread_init();
  {
    SqlSession session;
    std::unique_lock<std::mutex> lock(m_mutex);
    std::chrono::milliseconds pause{0};
    while (true) {
      // What has failed is tried again later; who noted something new waits for its first try.
      if (pause.count() != 0) m_wake.wait_for(lock, pause, [&] { return m_stopping || m_noted > m_tried; });
      if (!m_wake.wait_for(lock, kGtidInterval, [&] { return m_stopping || m_accounts || !m_names.empty(); })) {
        lock.unlock();
        keep_gtids();
        lock.lock();
        continue;
      }
      if (m_names.empty() && !m_accounts) break;
      const uint64_t noted = m_noted;
      const bool last = m_stopping;
      std::set<Name> names = std::move(m_names);
      m_names.clear();
      const bool accounts = std::exchange(m_accounts, false);
      lock.unlock();
      bool done = false;
      try {
        done = work(session, std::move(names), accounts, pause.count() != 0);
      } catch (const std::exception &exception) {
        log::error(std::string("catalog: capture: ") + exception.what());
        lock.lock();
        m_accounts = true;
        lock.unlock();
      }
      lock.lock();
      m_tried = std::max(m_tried, noted);
      m_progress.notify_all();
      pause = done ? std::chrono::milliseconds{0} : std::clamp(2 * pause, kShortestPause, kLongestPause);
      if (last && !done) {
        m_complete = false;
        break;
      }
    }
    m_running = false;
    m_progress.notify_all();
    lock.unlock();
    keep_gtids();
  }
  my_thread_end();
}

void Capture::start() {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (m_running) return;
  m_stopping = false;
  m_complete = true;
  m_running = true;
  m_names.clear();
  m_accounts = false;
  m_thread = std::thread([this] { run(); });
}

bool Capture::stop() {
  {
    const std::lock_guard<std::mutex> guard(m_mutex);
    m_stopping = true;
    m_wake.notify_one();
  }
  if (!m_thread.joinable()) return false;
  m_thread.join();
  return m_complete;
}

/// The exclusive locks of sessions that the server told of.
class ExclusiveLocks {
 public:
  void acquired(const THD *thd) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    ++m_counts[thd];
  }
  /// Whether it was the session's last one.
  bool released(const THD *thd) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    const auto found = m_counts.find(thd);
    if (found == m_counts.end()) return true;
    if (--found->second > 0) return false;
    m_counts.erase(found);
    return true;
  }

 private:
  std::mutex m_mutex;
  std::map<const THD *, uint64_t> m_counts;
};

ExclusiveLocks exclusive_locks;

bool is_internal(const THD *thd) { return thd->system_thread == SYSTEM_THREAD_BACKGROUND; }

std::optional<Kind> kind_of(const MDL_key &key) {
  switch (key.mdl_namespace()) {
    case MDL_key::SCHEMA:
      return Kind::kSchema;
    case MDL_key::TABLE:
      return Kind::kTable;
    case MDL_key::FUNCTION:
      return Kind::kFunction;
    case MDL_key::PROCEDURE:
      return Kind::kProcedure;
    case MDL_key::TRIGGER:
      return Kind::kTrigger;
    case MDL_key::EVENT:
      return Kind::kEvent;
    default:
      return {};
  }
}

/// Waits for the capture, and for the store to have it where the session wants its commits to be there. Whoever is told of an error anyway, such as
/// KILL while the statement's own commit waited, is not kept: by now nothing would tell of that KILL any more.
void wait_for_capture(THD *thd) {
  if (!capture().wait()) {
    const char *const told = "the definitions that this statement has changed are not in the store yet: they are still waited for";
    log::warning(std::string("catalog: ") + told);
    push_warning(thd, Sql_condition::SL_WARNING, ER_UNKNOWN_ERROR, told);
  }
  if (durability::wants_object(thd) && !thd->is_error()) durability::acknowledge(thd, ffi::engine_log_end(engine()));
}

/// While a session changes accounts, none can be read, and waiting for that would be waiting for itself. DROP FUNCTION releases its locks in that
/// state, and SET PASSWORD tells of its change; both have others yet to release.
void wait_when_accounts_are_free(THD *thd) {
  if (!thd->mdl_context.owns_equal_or_stronger_lock(MDL_key::ACL_CACHE, "", "", MDL_SHARED)) return wait_for_capture(thd);
  if (!locks_released::tell(thd, locks_released::kCaptured))
    log::warning("catalog: a statement is answered before its definitions are captured");
}

/// Whether the statement makes or drops what this engine keeps nothing of but its definition.
bool is_definition_alone(const THD *thd, Kind kind) {
  if (kind != Kind::kTable) return true;
  const enum_sql_command command = thd->lex->sql_command;
  return command == SQLCOM_CREATE_VIEW || command == SQLCOM_DROP_VIEW;
}

/// A server whose writes are refused takes no definitions either: the next start would not find them.
bool is_refused(THD *thd, Kind kind, const std::string &schema) {
  if (!is_capturing() || is_system_schema(schema) || !is_definition_alone(thd, kind)) return false;
  const ffi::Status writes = ffi::engine_check_writes(engine());
  if (ok(writes)) return false;
  ha_error(writes, nullptr);
  push_warning(thd, Sql_condition::SL_WARNING, ER_UNKNOWN_ERROR, last_error_message().c_str());
  return true;
}

/// What a session wanted to be told of its locks for.
void finish_statement(THD *thd, const char *told) {
  if (told == locks_released::kCommitted)
    durability::finish(thd);
  else if (told == locks_released::kGtidsReset)
    gtid::reset(thd);
  else
    wait_when_accounts_are_free(thd);
}

bool notify_exclusive_mdl(THD *thd, const MDL_key *key, ha_notification_type type, bool *) {
  if (is_internal(thd)) return false;
  if (const char *told = locks_released::told(*key); told != nullptr) {
    if (type == HA_NOTIFY_POST_EVENT) guarded([&] { return finish_statement(thd, told), 0; });
    return false;
  }
  const std::optional<Kind> kind = kind_of(*key);
  if (!kind) return false;
  const std::string schema(key->db_name(), key->db_name_length());
  if (type == HA_NOTIFY_PRE_EVENT) {
    if (is_refused(thd, *kind, schema)) return true;
    exclusive_locks.acquired(thd);
    return false;
  }
  const bool last = exclusive_locks.released(thd);
  guarded([&] {
    const std::string name(key->name(), key->name_length());
    if (!is_capturing() || is_system_schema(schema)) return 0;
    // The names that ALTER TABLE uses in between.
    if (*kind == Kind::kTable && name.compare(0, 4, "#sql") == 0) return 0;
    capture().note({*kind, schema, *kind == Kind::kSchema ? std::string() : name});
    // The server gives and takes rights on routines by itself, and says nothing.
    if (*kind == Kind::kFunction || *kind == Kind::kProcedure) capture().note_all_accounts();
    if (last) wait_when_accounts_are_free(thd);
    return 0;
  });
  return false;
}

/// Whether a statement changes no account but those it names.
bool is_confined(enum_sql_command command) {
  switch (command) {
    case SQLCOM_CREATE_USER:
    case SQLCOM_ALTER_USER:
    case SQLCOM_SET_PASSWORD:
    case SQLCOM_GRANT:
    case SQLCOM_REVOKE:
    case SQLCOM_REVOKE_ALL:
      return true;
    default:
      return false;
  }
}

void acl_notify(THD *thd, const Acl_change_notification *notice) {
  if (is_internal(thd) || !is_capturing()) return;
  guarded([&] {
    bool confined = is_confined(notice->get_operation());
    std::vector<Name> accounts;
    for (const LEX_USER &user : notice->get_user_list()) {
      confined = confined && user.user.str != nullptr && user.host.str != nullptr;
      if (confined) accounts.push_back({Kind::kAccount, {user.host.str, user.host.length}, {user.user.str, user.user.length}});
    }
    if (confined && !accounts.empty()) {
      for (const Name &account : accounts) capture().note(account);
    } else {
      capture().note_all_accounts();
    }
    wait_when_accounts_are_free(thd);
    // Here the server asks no engine before.
    const int error = ha_error(ffi::engine_check_writes(engine()), nullptr);
    if (error == 0 || thd->is_error() || thd->get_stmt_da()->is_sent()) return 0;
    raise(own_error(kErrorReadOnly,
                    "the statement has changed this server's disk alone, and the next start undoes it: " + last_error_message()));
    return 0;
  });
}

}  // namespace

void install_capture_hooks(handlerton *handlerton) {
  handlerton->notify_exclusive_mdl = notify_exclusive_mdl;
  handlerton->acl_notify = acl_notify;
}

void start_capture(const std::set<Name> &unread) {
  capture().start();
  for (const Name &name : unread) capture().note(name);
}
bool stop_capture() { return capture().stop(); }
bool is_capturing() { return capture().running(); }

bool capture_all(SqlSession &session, bool with_table_texts, const std::set<Name> &known, std::set<Name> *unread) {
  std::vector<Listed> listed;
  if (!list_all(session, &listed)) {
    log::error("catalog: the server's dictionary cannot be listed: " + session.message());
    return false;
  }
  std::set<Name> stored_tables, not_replayed;
  for (auto kind = static_cast<uint8_t>(Kind::kSchema); kind <= static_cast<uint8_t>(Kind::kAccount); ++kind) {
    for (const Entry &entry : all(static_cast<Kind>(kind))) {
      if (entry.name.kind == Kind::kTable) stored_tables.insert(entry.name);
      if ((entry.flags & Entry::kNotReplayed) != 0) not_replayed.insert(entry.name);
    }
  }
  Batch batch(session, false);
  const auto take = [&](const Name &name) {
    if (!batch.take(name)) unread->insert(name);
  };
  std::set<Name> present;
  std::vector<std::string> elsewhere;
  for (const Listed &object : listed) {
    present.insert(object.name);
    if (object.name.kind == Kind::kTable && object.engine != "SMARTENGINE") {
      elsewhere.push_back(object.name.schema + '.' + object.name.name);
      continue;
    }
    // What the last replay made only in part is kept whole.
    if (known.count(object.name) != 0 || not_replayed.count(object.name) != 0) continue;
    if (object.name.kind == Kind::kAccount && opt_noacl) continue;
    if (object.name.kind == Kind::kTable && !with_table_texts && stored_tables.count(object.name) != 0) continue;
    take(object.name);
  }
  for (auto kind = static_cast<uint8_t>(Kind::kSchema); kind <= static_cast<uint8_t>(Kind::kAccount); ++kind) {
    for (const Entry &entry : all(static_cast<Kind>(kind))) {
      if (present.count(entry.name) == 0 && not_replayed.count(entry.name) == 0) take(entry.name);
    }
  }
  if (!elsewhere.empty()) {
    std::string names;
    constexpr size_t kMostNames = 20;
    for (size_t i = 0; i < std::min(elsewhere.size(), kMostNames); ++i) names += (i == 0 ? "" : ", ") + elsewhere[i];
    if (elsewhere.size() > kMostNames) names += " and " + std::to_string(elsewhere.size() - kMostNames) + " more";
    log::information("tables of other engines are on this server's disk alone, and would be lost with it: " + names);
  }
  return batch.write();
}

}  // namespace smartengine::catalog
