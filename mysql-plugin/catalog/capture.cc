#include "catalog/capture.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error_map.h"
#include "base/log.h"
#include "catalog/gtid.h"
#include "catalog/reader.h"
#include "catalog/store.h"
#include "catalog/tables.h"
#include "compat.h"
#include "my_thread.h"
#include "sql/mysqld.h"

namespace smartengine::catalog {

namespace {

constexpr std::chrono::seconds kLongestWait{30};
constexpr std::chrono::seconds kGtidInterval{1};
constexpr std::chrono::milliseconds kShortestPause{250};
constexpr std::chrono::milliseconds kLongestPause{30000};

/// What a capture has found out and will write.
/// What became of a batch.
enum class Written : uint8_t {
  kDone,
  kChanged,  ///< A table was changed while its definition was read: it has to be read again.
  kFailed,
};

/// How often definitions are read again at once because tables change meanwhile, before that counts as a failure.
constexpr int kReadings = 5;

class Batch {
 public:
  /// A `quiet` one does not report what it cannot do: that was reported before.
  Batch(SqlSession &session, bool quiet) : m_session(session), m_quiet(quiet) {}

  /// Reads the object and notes what differs from the catalog; false if it must be tried again.
  bool take(const Name &name);
  /// Writes it; unless that is done, it must all be tried again.
  Written write();

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
  const int error = find(name, &stored);
  // One that cannot be decoded could not be made either.
  if (error == HA_ERR_TABLE_CORRUPT || (stored && (stored->flags & Entry::kNotReplayed) != 0)) return;
  if (error != 0) throw std::runtime_error("the store's " + describe(name) + " cannot be read: " + last_error_message());
  remove(name);
}

void Batch::remove_schema(const std::string &schema) {
  for (auto kind = static_cast<uint8_t>(Kind::kSchema); kind < static_cast<uint8_t>(Kind::kAccount); ++kind) {
    for (const Entry &entry : all(static_cast<Kind>(kind), schema)) m_removals.insert(entry.name);
  }
}

/// The server may name what is gone in any letter case.
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

Written Batch::write() {
  // No table may change between here and the commit: it would be given back the definition it had when it was read.
  const std::lock_guard<std::mutex> gate(table_versions().gate());
  for (const auto &[table, version] : m_versions) {
    if (table_versions().of_locked(table) != version) return Written::kChanged;
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
  return error == 0 ? Written::kDone : Written::kFailed;
}

/// The thread, and what it is to do.
class Capture {
 public:
  /// From now on notes are taken; the thread that works on them is started later.
  void expect();
  void start(const Todo &first);
  bool stop();
  /// No thread will come: whoever waits is told so.
  void give_up();
  bool running() {
    const std::lock_guard<std::mutex> guard(m_mutex);
    return m_running;
  }

  void note(const Todo &changed);
  /// Waits until all that was noted so far has been tried; false if that takes too long, or one of `changed` could not be captured.
  bool wait(const Todo &changed);

 private:
  void run();
  Todo work(SqlSession &session, const Todo &todo, bool quiet);

  std::mutex m_mutex;
  std::condition_variable m_wake;
  std::condition_variable m_progress;
  Todo m_todo;
  Todo m_failed;         ///< What the last try left undone; all of it is in `m_todo` too.
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

void Capture::note(const Todo &changed) {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (!m_running) return;
  m_todo.merge(changed);
  ++m_noted;
  m_wake.notify_one();
}

bool Capture::wait(const Todo &changed) {
  std::unique_lock<std::mutex> lock(m_mutex);
  const uint64_t mine = m_noted;
  const bool tried = m_progress.wait_for(lock, kLongestWait, [&] { return m_tried >= mine || !m_running; });
  return tried && m_tried >= mine && !m_failed.meets(changed);
}

/// Returns what could not be done. Whatever this throws, nothing of it is written.
Todo Capture::work(SqlSession &session, const Todo &todo, bool quiet) {
  if (!quiet && failpoint("catalog.first_try_throws")) throw std::runtime_error("failure point catalog.first_try_throws");
  bool listed_all = true;
  std::set<Name> names = todo.names;
  const auto add_all = [&](Kind kind) {
    std::vector<Listed> listed;
    if (!list(session, kind, &listed)) {
      listed_all = false;
      if (!quiet) log::warning("catalog: a list of definitions cannot be read, tried again later: " + session.message());
    }
    // Those that are gone are read too, and not found. What could not be made again, or not in full, is kept as it is: nothing but a statement that
    // names it says what it is to be from now on.
    std::set<Name> kept;
    for (const Entry &entry : all(kind)) ((entry.flags & Entry::kNotReplayed) != 0 ? kept : names).insert(entry.name);
    for (const Listed &object : listed) {
      if (kept.count(object.name) == 0) names.insert(object.name);
    }
  };
  // The server says nothing about libraries; routines use them.
  const bool routines = std::any_of(names.begin(), names.end(), [](const Name &name) {
    return name.kind == Kind::kFunction || name.kind == Kind::kProcedure || name.kind == Kind::kSchema;
  });
  if (kHasLibraries && routines) add_all(Kind::kLibrary);
  if (todo.accounts) add_all(Kind::kAccount);
  Todo left;
  for (int reading = 1; reading <= kReadings; ++reading) {
    left = {};
    Batch batch(session, quiet);
    for (const Name &name : names) {
      if (!batch.take(name)) left.names.insert(name);
    }
    const bool failed = failpoint("catalog.before_capture");
    const bool changed = reading == 1 && failpoint("catalog.changed_while_read");
    const Written written = failed ? Written::kFailed : changed ? Written::kChanged : batch.write();
    if (written == Written::kDone) break;
    left.names = names;
    if (written == Written::kFailed) break;
  }
  if (!listed_all) left.merge(todo);
  return left;
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
      if (!m_wake.wait_for(lock, kGtidInterval, [&] { return m_stopping || !m_todo.empty(); })) {
        lock.unlock();
        keep_gtids();
        lock.lock();
        continue;
      }
      if (m_todo.empty()) break;
      const uint64_t noted = m_noted;
      const bool last = m_stopping;
      const Todo todo = std::exchange(m_todo, {});
      lock.unlock();
      Todo left;
      try {
        left = work(session, todo, pause.count() != 0);
      } catch (const std::exception &exception) {
        log::error(std::string("catalog: definitions could not be captured, tried again later: ") + exception.what());
        left = todo;
      }
      lock.lock();
      m_todo.merge(left);
      m_failed = std::move(left);
      m_tried = std::max(m_tried, noted);
      m_progress.notify_all();
      pause = m_failed.empty() ? std::chrono::milliseconds{0} : std::clamp(2 * pause, kShortestPause, kLongestPause);
      if (last && !m_failed.empty()) {
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

void Capture::expect() {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (m_running) return;
  m_stopping = false;
  m_complete = true;
  m_running = true;
  m_todo = {};
  m_failed = {};
}

void Capture::start(const Todo &first) {
  expect();
  if (!first.empty()) note(first);
  m_thread = std::thread([this] { run(); });
}

void Capture::give_up() {
  const std::lock_guard<std::mutex> guard(m_mutex);
  if (m_thread.joinable()) return;
  m_running = false;
  m_progress.notify_all();
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

}  // namespace

void Todo::merge(const Todo &other) {
  names.insert(other.names.begin(), other.names.end());
  accounts = accounts || other.accounts;
}

bool Todo::meets(const Todo &other) const {
  const auto has_account = [](const std::set<Name> &names) {
    return std::any_of(names.begin(), names.end(), [](const Name &name) { return name.kind == Kind::kAccount; });
  };
  if (accounts && (other.accounts || has_account(other.names))) return true;
  if (other.accounts && has_account(names)) return true;
  return std::any_of(names.begin(), names.end(), [&](const Name &name) { return other.names.count(name) != 0; });
}

void expect_capture() { capture().expect(); }
void start_capture(const Todo &first) { capture().start(first); }
void give_up_capture() { capture().give_up(); }
bool stop_capture() { return capture().stop(); }
bool is_capturing() { return capture().running(); }
void note(const Todo &changed) { capture().note(changed); }
bool wait_for(const Todo &changed) { return capture().wait(changed); }

namespace {

Written capture_all_once(SqlSession &session, bool with_table_texts, const std::set<Name> &known, std::set<Name> *unread) {
  unread->clear();
  std::vector<Listed> listed;
  if (!list_all(session, &listed)) {
    log::error("catalog: the server's dictionary cannot be listed: " + session.message());
    return Written::kFailed;
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

}  // namespace

bool capture_all(SqlSession &session, bool with_table_texts, const std::set<Name> &known, std::set<Name> *unread) {
  for (int reading = 1; reading <= kReadings; ++reading) {
    const Written written = capture_all_once(session, with_table_texts, known, unread);
    if (written != Written::kChanged) return written == Written::kDone;
  }
  log::error("catalog: tables are changed faster than their definitions can be read");
  return false;
}

}  // namespace smartengine::catalog
