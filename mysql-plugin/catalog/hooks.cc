#include "catalog/hooks.h"

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/engine.h"
#include "base/error_map.h"
#include "base/log.h"
#include "catalog/attach_state.h"
#include "catalog/capture.h"
#include "catalog/gtid.h"
#include "catalog/reader.h"
#include "compat.h"
#include "my_sys.h"
#include "session/durability.h"
#include "session/locks_released.h"
#include "sql/auth/acl_change_notification.h"
#include "sql/mdl.h"
#include "sql/sql_error.h"
#include "sql/sql_lex.h"

namespace smartengine::catalog {

namespace {

/// The sessions that define something: their exclusive locks that the server told of, and what they have changed and not yet waited for.
class Sessions {
 public:
  void acquired(const THD *thd) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    ++m_sessions[thd].locks;
  }
  /// Whether it was the session's last lock.
  bool released(const THD *thd) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    const auto found = m_sessions.find(thd);
    if (found == m_sessions.end()) return true;
    if (found->second.locks > 0) --found->second.locks;
    if (found->second.locks > 0) return false;
    if (found->second.changed.empty()) m_sessions.erase(found);
    return true;
  }
  void changed(const THD *thd, const Todo &changed) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    m_sessions[thd].changed.merge(changed);
  }
  Todo take_changed(const THD *thd) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    const auto found = m_sessions.find(thd);
    if (found == m_sessions.end()) return {};
    Todo changed = std::exchange(found->second.changed, {});
    if (found->second.locks == 0) m_sessions.erase(found);
    return changed;
  }

 private:
  struct Session {
    uint64_t locks = 0;
    Todo changed;
  };
  std::mutex m_mutex;
  std::map<const THD *, Session> m_sessions;
};

Sessions sessions;

/// Accounts that statements have named before the attach.
class NamedBefore {
 public:
  void add(const std::set<Name> &names) {
    const std::lock_guard<std::mutex> guard(m_mutex);
    m_names.insert(names.begin(), names.end());
  }
  std::set<Name> take() {
    const std::lock_guard<std::mutex> guard(m_mutex);
    return std::exchange(m_names, {});
  }

 private:
  std::mutex m_mutex;
  std::set<Name> m_names;
};

NamedBefore named_before;

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

/// The OK was made when the statement was done, which is before its locks were released, and says how many warnings there were then. It is made again.
void count_warnings_again(THD *thd) {
  Diagnostics_area *const area = thd->get_stmt_da();
  if (!area->is_ok() || area->is_sent()) return;
  const ulonglong affected = area->affected_rows();
  const ulonglong insert_id = area->last_insert_id();
  const std::string message(area->message_text());
  area->reset_diagnostics_area();
  area->set_ok_status(affected, insert_id, message.c_str());
}

void warn(THD *thd, const char *what) {
  log::warning(std::string("catalog: ") + what);
  push_warning(thd, Sql_condition::SL_WARNING, ER_UNKNOWN_ERROR, what);
  count_warnings_again(thd);
}

void warn_of_refused_attach(THD *thd) {
  warn(thd,
       "this definition is on this server's disk alone: the store's catalog was not attached when the server started, for the reason in "
       "the error "
       "log");
}

void warn_of_late_capture(THD *thd) {
  warn(thd, "the definitions that this statement has changed are not in the store yet: they are tried again until they are");
}

/// Waits for the capture, and for the store to have it where the session wants its commits to be there. Whoever is told of an error anyway, such as
/// KILL while the statement's own commit waited, is not kept: by now nothing would tell of that KILL any more.
void wait_for_capture(THD *thd) {
  if (!wait_for(sessions.take_changed(thd))) warn_of_late_capture(thd);
  if (durability::wants_object(thd) && !thd->is_error()) durability::acknowledge(thd, ffi::engine_log_end(engine()));
}

/// While a session changes accounts, none can be read, and waiting for that would be waiting for itself. DROP FUNCTION releases its locks in that
/// state, and SET PASSWORD tells of its change; both have others yet to release.
void wait_when_accounts_are_free(THD *thd) {
  if (!thd->mdl_context.owns_equal_or_stronger_lock(MDL_key::ACL_CACHE, "", "", MDL_SHARED)) return wait_for_capture(thd);
  if (locks_released::tell(thd, locks_released::kCaptured)) return;
  sessions.take_changed(thd);
  warn(thd, "the definitions that this statement has changed may not be in the store yet: it was answered without waiting for them");
}

/// Whether the statement makes or drops what this engine keeps nothing of but its definition.
bool is_definition_alone(const THD *thd, Kind kind) {
  if (kind != Kind::kTable) return true;
  const enum_sql_command command = thd->lex->sql_command;
  return command == SQLCOM_CREATE_VIEW || command == SQLCOM_DROP_VIEW;
}

/// A server whose writes are refused takes no definitions either: the next start would not find them.
bool is_refused(THD *thd, Kind kind, const std::string &schema) {
  if (attach_state() == AttachState::kDetached || is_system_schema(schema) || !is_definition_alone(thd, kind)) return false;
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

/// Whether the session goes on with a lock that the capture's reading would wait for: under LOCK TABLES … WRITE an exclusive lock is only weakened,
/// and a trigger is read with its table.
bool keeps_from_reading(THD *thd, Kind kind, const std::string &schema, const std::string &name) {
  if (thd->locked_tables_mode == LTM_NONE) return false;
  return kind == Kind::kTrigger || (kind == Kind::kTable && thd->mdl_context.owns_equal_or_stronger_lock(
                                                                MDL_key::TABLE, schema.c_str(), name.c_str(), MDL_SHARED_NO_READ_WRITE));
}

/// The session has released its lock on an object that it may have changed.
void object_released(THD *thd, Kind kind, const std::string &schema, const std::string &name) {
  const bool last = sessions.released(thd);
  if (is_system_schema(schema)) return;
  if (attach_state() == AttachState::kRefused) {
    if (last && is_definition_alone(thd, kind) && !thd->is_error()) warn_of_refused_attach(thd);
    return;
  }
  // The names that ALTER TABLE uses in between.
  if (!is_capturing() || (kind == Kind::kTable && name.compare(0, 4, "#sql") == 0)) return;
  Todo changed;
  changed.names.insert({kind, schema, kind == Kind::kSchema ? std::string() : name});
  // The server gives and takes rights on routines by itself, and says nothing.
  changed.accounts = kind == Kind::kFunction || kind == Kind::kProcedure;
  note(changed);
  if (!keeps_from_reading(thd, kind, schema, name)) {
    sessions.changed(thd, changed);
    if (last) wait_when_accounts_are_free(thd);
    return;
  }
  // Captured once the tables are unlocked. A table of this engine is kept by its own transaction already, and nothing need be said.
  if (!sessions.take_changed(thd).empty() || kind == Kind::kTrigger) warn_of_late_capture(thd);
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
    sessions.acquired(thd);
    return false;
  }
  guarded([&] { return object_released(thd, *kind, schema, {key->name(), key->name_length()}), 0; });
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

/// What a statement on accounts has changed.
Todo changed_by(const Acl_change_notification &notice) {
  Todo changed;
  bool confined = is_confined(notice.get_operation());
  for (const LEX_USER &user : notice.get_user_list()) {
    const bool named = user.user.str != nullptr && user.host.str != nullptr;
    if (named) changed.names.insert({Kind::kAccount, {user.host.str, user.host.length}, {user.user.str, user.user.length}});
    confined = confined && named;
  }
  changed.accounts = !confined || changed.names.empty();
  return changed;
}

void acl_notify(THD *thd, const Acl_change_notification *notice) {
  if (is_internal(thd)) return;
  guarded([&] {
    if (attach_state() == AttachState::kRefused) return warn_of_refused_attach(thd), 0;
    const Todo changed = changed_by(*notice);
    if (attach_state() == AttachState::kDetached) named_before.add(changed.names);
    if (!is_capturing()) return 0;
    sessions.changed(thd, changed);
    note(changed);
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

std::set<Name> take_accounts_named_before() { return named_before.take(); }

void install_hooks(handlerton *handlerton) {
  handlerton->notify_exclusive_mdl = notify_exclusive_mdl;
  handlerton->acl_notify = acl_notify;
}

}  // namespace smartengine::catalog
