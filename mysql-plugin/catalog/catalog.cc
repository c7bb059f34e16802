#include "catalog/catalog.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "catalog/attach_state.h"
#include "catalog/capture.h"
#include "catalog/disk.h"
#include "catalog/gtid.h"
#include "catalog/hooks.h"
#include "catalog/replay.h"
#include "catalog/sql_session.h"
#include "catalog/store.h"
#include "catalog/text.h"
#include "compat.h"
#include "my_thread.h"
#include "mysql/plugin.h"
#include "sql/events.h"
#include "sql/mysqld.h"
#include "sql/replication.h"
#include "sql/rpl_replica.h"
#include "sql/sql_plugin.h"

namespace smartengine::catalog {

namespace {

void (*after_attach)() = nullptr;
/// What this server's disk said before it was opened.
bool was_clean = false;

/// What start-up would do before the catalog is replayed.
class HeldBack {
 public:
  void hold() {
    if (m_held) return;
    m_held = true;
    m_scheduler = Events::opt_event_scheduler;
    if (m_scheduler == Events::EVENTS_ON) Events::opt_event_scheduler = Events::EVENTS_OFF;
    m_skip_replica_start = opt_skip_replica_start;
    opt_skip_replica_start = true;
  }
  void release(SqlSession &session) {
    if (!m_held) return;
    m_held = false;
    if (m_scheduler == Events::EVENTS_ON) session.run("SET GLOBAL event_scheduler = ON");
    opt_skip_replica_start = m_skip_replica_start;
    if (m_skip_replica_start || !session.run("SELECT Host FROM mysql.slave_master_info LIMIT 1") || session.rows().empty()) return;
    if (!session.run("START REPLICA")) log::error("catalog: replication does not start: " + session.message());
  }

 private:
  bool m_held = false;
  ulong m_scheduler = 0;
  bool m_skip_replica_start = false;
};

HeldBack held_back;

std::string random_id() {
  std::random_device device;
  std::string id;
  while (id.size() < disk::kIdSize) id.push_back(static_cast<char>(device()));
  return id;
}

Name meta_name() { return {Kind::kMeta, {}, {}}; }

/// What the catalog says of itself.
struct Meta {
  std::string store_id;
  std::string token;
  std::string lower_case_names;
};

int read_meta(std::optional<Meta> *meta) {
  std::optional<Entry> entry;
  if (int error = find(meta_name(), &entry); error != 0) return error;
  meta->reset();
  if (entry) *meta = Meta{entry->field(0), entry->field(1), entry->field(2)};
  return 0;
}

int write_meta(const Meta &meta) {
  Entry entry;
  entry.name = meta_name();
  entry.server_version = written_version();
  entry.fields = {meta.store_id, meta.token, meta.lower_case_names};
  Change change;
  const int error = change.put(entry);
  return error != 0 ? error : change.commit();
}

/// Writes fewer syncs while many definitions are made; all is on the disk when it ends.
class Unsynced {
 public:
  explicit Unsynced(SqlSession &session) : m_session(session) {
    if (!session.run("SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS CHAR)") || session.rows().empty()) return;
    m_before = session.rows()[0][0].value_or("");
    session.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0");
  }
  ~Unsynced() {
    if (!m_before.empty()) m_session.run("SET GLOBAL innodb_flush_log_at_trx_commit = " + m_before);
    m_session.run("FLUSH ENGINE LOGS");
  }
  Unsynced(const Unsynced &) = delete;
  Unsynced &operator=(const Unsynced &) = delete;

 private:
  SqlSession &m_session;
  std::string m_before;
};

/// Adds GTIDs that this server has not executed to gtid_purged; false with the reason in the error log.
bool replay_gtids(SqlSession &session, const std::string &gtids) {
  if (gtids.empty()) return true;
  if (session.run("SELECT GTID_SUBTRACT(" + quoted_text(gtids) + ", @@GLOBAL.gtid_executed)") && !session.rows().empty()) {
    const std::string missing = session.rows()[0][0].value_or("");
    if (missing.empty() || session.run("SET GLOBAL gtid_purged = " + quoted_text("+" + missing))) return true;
  }
  log::error("catalog: the executed GTIDs of the store cannot be made this server's: " + session.message());
  return false;
}

/// The disk is behind, or was never here.
bool bring_forward(SqlSession &session, bool was_in_step, std::set<Name> *unread) {
  const auto start = std::chrono::steady_clock::now();
  ReplayResult result;
  {
    const Unsynced unsynced(session);
    result = replay(session, was_in_step);
  }
  if (!result.complete) return false;
  if (failpoint("catalog.replayed")) return false;
  replay_gtids(session, gtid::text());
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  log::information("catalog: " + std::to_string(result.made) + " definitions made from the store, " + std::to_string(result.dropped) +
                   " dropped, " + std::to_string(result.failed) + " failed, in " + std::to_string(millis) + " ms");
  return capture_all(session, true, result.in_step, unread);
}

/// The dictionary is right.
bool follow(SqlSession &session, bool clean, const std::set<Name> &named_before, std::set<Name> *unread) {
  // A crash may have kept GTIDs from the server that the transactions in the store have.
  if (!clean) replay_gtids(session, gtid::text());
  const ReplayResult result = replay_failed(session, named_before);
  return result.complete && capture_all(session, !clean, result.in_step, unread);
}

bool attach_in(SqlSession &session, std::set<Name> *unread) {
  const std::set<Name> named_before = take_accounts_named_before();
  std::optional<Meta> meta;
  uint64_t stored = 0;
  if (read_meta(&meta) != 0 || generation(&stored) != 0) {
    log::error("catalog: it cannot be read: " + last_error_message());
    return false;
  }
  const std::string lower_case = std::to_string(lower_case_table_names);
  if (meta && meta->lower_case_names != lower_case) {
    log::error("catalog: it was written with lower_case_table_names=" + meta->lower_case_names + ", this server has " + lower_case +
               ": its definitions are not attached");
    return false;
  }
  const std::optional<disk::State> local = disk::read();
  const bool known_disk = meta && local && local->store_id == meta->store_id;
  const bool in_step = known_disk && local->token == meta->token && local->generation >= stored;
  const Meta next{meta ? meta->store_id : random_id(), random_id(), lower_case};
  if (meta && !in_step && opt_noacl) {
    log::error("catalog: accounts cannot be brought back with --skip-grant-tables: start without it");
    return false;
  }
  // Tables write themselves into the catalog, also where nothing else of a server was ever attached. On a disk that knows nothing of them they
  // are made again; where they are there already, that changes nothing.
  const bool others = meta ? !in_step : !local && !all(Kind::kTable).empty();
  const bool done = others ? bring_forward(session, known_disk, unread) : follow(session, in_step && was_clean, named_before, unread);
  if (!done) return false;
  if (generation(&stored) != 0) return false;
  const uint64_t reached = std::max(stored, local ? local->generation : 0);
  if (disk::write({false, next.store_id, next.token, reached}) != 0) return false;
  if (failpoint("catalog.disk_written")) return false;
  if (write_meta(next) != 0) {
    log::error("catalog: the attach cannot be recorded: " + last_error_message());
    return false;
  }
  return true;
}

void attach() {
  my_thread_init();
  {
    SqlSession session;
    bool done = false;
    Todo unread;
    try {
      done = is_open() && attach_in(session, &unread.names);
    } catch (const std::exception &exception) {
      log::error(std::string("catalog: attach: ") + exception.what());
    }
    if (!is_open()) {
      // The engine has said why.
    } else if (done) {
      set_attach_state(AttachState::kAttached);
      start_capture(unread);
    } else {
      set_attach_state(AttachState::kRefused);
      log::error(
          "catalog: not attached: definitions of this engine's tables cannot be changed, and others stay on this server's disk, until a "
          "start "
          "succeeds");
      give_up_capture();
    }
    if (is_open()) after_attach();
    held_back.release(session);
  }
  my_thread_end();
}

int before_handle_connection(Server_state_param *) {
  std::thread(attach).join();
  return 0;
}

/// Clients are gone; the server's dictionary is still there.
int after_server_shutdown(Server_state_param *) {
  close();
  return 0;
}

int nothing(Server_state_param *) { return 0; }

Server_state_observer observer = {
    sizeof(Server_state_observer), before_handle_connection, nothing, nothing, nothing, nothing, after_server_shutdown, nothing};

std::atomic<bool> observing{false};

/// In a running server nobody calls the observer, and the plugin counts as loaded only some time after its init.
class RunningAttach {
 public:
  void start() {
    m_stopping = false;
    m_thread = std::thread([this] { run(); });
  }
  void stop() {
    m_stopping = true;
    if (m_thread.joinable()) m_thread.join();
  }

 private:
  void run() {
    constexpr std::chrono::milliseconds kPause{5};
    const LEX_CSTRING name{STRING_WITH_LEN("SMARTENGINE")};
    while (!plugin_is_ready(name, MYSQL_STORAGE_ENGINE_PLUGIN)) {
      if (m_stopping) return give_up_capture();
      std::this_thread::sleep_for(kPause);
    }
    if (observe_server()) attach();
  }

  std::atomic<bool> m_stopping{false};
  std::thread m_thread;
};

RunningAttach running_attach;

}  // namespace

int open(handlerton *handlerton, void (*after)()) {
  after_attach = after;
  set_attach_state(AttachState::kDetached);
  install_hooks(handlerton);
  gtid::install_hooks(handlerton);
  const std::optional<disk::State> local = disk::read();
  was_clean = local && local->clean;
  // From here on tables may change without the rest being captured.
  if (int error = disk::set_clean(false); error != 0) return error;
  if (!mysqld_server_started) held_back.hold();
  return gtid::load();
}

bool disk_is_anothers() {
  std::optional<Meta> meta;
  if (read_meta(&meta) != 0 || !meta) return false;
  const std::optional<disk::State> local = disk::read();
  return !local || local->store_id != meta->store_id || local->token != meta->token;
}

namespace {

bool has_no_tables() {
  try {
    return all(Kind::kTable).empty();
  } catch (const std::exception &exception) {
    log::error(std::string("catalog: ") + exception.what());
    return false;
  }
}

}  // namespace

bool can_attach_running() {
  std::optional<Meta> meta;
  uint64_t stored = 0;
  if (read_meta(&meta) != 0 || generation(&stored) != 0) return false;
  const std::optional<disk::State> local = disk::read();
  if (!meta) return local || has_no_tables();
  return local && local->store_id == meta->store_id && local->token == meta->token && local->generation >= stored;
}

bool observe_server() {
  // The plugin's own entry, by which the server knows whether it may still call it; the handlerton that an engine's init is given would be taken
  // for it without a word, and the observer never called.
  st_plugin_int *const plugin = hton2plugin(hton->slot);
  if (plugin != nullptr && register_server_state_observer(&observer, plugin) == 0) {
    observing = true;
    return true;
  }
  set_attach_state(AttachState::kRefused);
  log::error("catalog: the server takes no observer: definitions are not attached");
  give_up_capture();
  return false;
}

void attach_running() {
  set_attach_state(AttachState::kAttaching);
  expect_capture();
  running_attach.start();
}

void close() {
  running_attach.stop();
  const AttachState before = attach_state();
  set_attach_state(AttachState::kDetached);
  if (before == AttachState::kAttached && stop_capture()) disk::set_clean(true);
}

void leave() {
  close();
  if (observing.exchange(false)) unregister_server_state_observer(&observer, nullptr);
}

}  // namespace smartengine::catalog
