#include "error_map.h"

#include <utility>

#include "compat.h"
#include "my_sys.h"
#include "mysql/plugin.h"
#include "mysqld_error.h"
#include "sql_string.h"

namespace smartengine {

namespace {

thread_local std::string message;

int number(ffi::Code code) {
  switch (code) {
    case ffi::Code::Ok:
      return 0;
    case ffi::Code::NotFound:
      // Callers that mean "key not found" say so themselves; a scan that ends is the common case.
      return HA_ERR_END_OF_FILE;
    case ffi::Code::Duplicate:
      return HA_ERR_FOUND_DUPP_KEY;
    case ffi::Code::LockTimeout:
      // 1205: the statement is undone, the transaction goes on.
      return HA_ERR_LOCK_WAIT_TIMEOUT;
    case ffi::Code::LockNotAvailable:
      // 3572, for NOWAIT.
      return HA_ERR_NO_WAIT_LOCK;
    case ffi::Code::Deadlock:
      // 1213: the engine chose this transaction as the victim; its locks must go.
      return HA_ERR_LOCK_DEADLOCK;
    case ffi::Code::LockLimit:
      // 1206: smartengine_max_row_locks is reached.
      return HA_ERR_LOCK_TABLE_FULL;
    case ffi::Code::Interrupted:
      // KILL while waiting; the server turns it into the message of the kill's kind.
      return HA_ERR_QUERY_INTERRUPTED;
    case ffi::Code::Corruption:
      // A checksum or a format failed; the message with object and offset is in the error log.
      return HA_ERR_TABLE_CORRUPT;
    case ffi::Code::OutOfSpace:
      // 1114 "The table is full", as InnoDB reports a full disk.
      return HA_ERR_RECORD_FILE_FULL;
    case ffi::Code::ObjectMissing:
      // Not corruption: a lifecycle rule or a person may have removed the object and may bring it back.
      return kErrorObjectMissing;
    case ffi::Code::AlreadyExists:
      return kErrorAlreadyExists;
    case ffi::Code::Unavailable:
      // The store cannot be reached: temporary, and neither corruption nor a deadlock.
      return kErrorUnavailable;
    case ffi::Code::Fenced:
      // Another writer took over; retrying here never helps.
      return kErrorFenced;
    case ffi::Code::ReadOnly:
      // A failed log write or sync stopped writes; reads go on.
      return kErrorReadOnly;
    case ffi::Code::Invalid:
      return kErrorInvalid;
    case ffi::Code::Internal:
    case ffi::Code::Panic:
      break;
  }
  return kErrorInternal;
}

}  // namespace

int ha_error(const ffi::Status &status, THD *thd) {
  const int error = number(status.code);
  switch (status.code) {
    case ffi::Code::Ok:
    case ffi::Code::NotFound:
    case ffi::Code::Duplicate:
      return error;
    case ffi::Code::Deadlock:
      if (thd != nullptr) thd_mark_transaction_to_rollback(thd, 1);
      break;
    case ffi::Code::LockTimeout:
    case ffi::Code::LockLimit:
      if (thd != nullptr) thd_mark_transaction_to_rollback(thd, status.code == ffi::Code::LockLimit);
      break;
    default:
      break;
  }
  message = std::string(ffi::last_error());
  return error;
}

const std::string &last_error_message() { return message; }

int own_error(OwnError error, std::string text) {
  message = std::move(text);
  return error;
}

bool error_text(int error, String *text) {
  if (error < kErrorUnavailable || error > kErrorAlreadyExists) return false;
  text->copy(message.data(), message.size(), &my_charset_utf8mb4_bin);
  return error == kErrorUnavailable;
}

void raise(int error) { my_error(ER_GET_ERRMSG, MYF(0), error, message.c_str(), "SMARTENGINE"); }

}  // namespace smartengine
