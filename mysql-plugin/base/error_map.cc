#include "base/error_map.h"

#include <utility>

#include "base/log.h"
#include "compat.h"
#include "my_sys.h"
#include "mysql/plugin.h"
#include "mysqld_error.h"
#include "sql_string.h"

// mysql-plugin/src/error_map.rs
extern "C" int smartengine_ha_error(uint8_t code);

namespace smartengine {

namespace {

thread_local std::string message;

}  // namespace

int ha_error(const ffi::Status &status, THD *thd) {
  const int error = smartengine_ha_error(static_cast<uint8_t>(status.code));
  switch (status.code) {
    case ffi::Code::Ok:
    case ffi::Code::NotFound:
    case ffi::Code::Duplicate:
      return error;
    case ffi::Code::Corruption:
    case ffi::Code::ObjectMissing:
    case ffi::Code::Internal:
      // The server's message names the table at best; which object, and where in it, an operator finds in the error log.
      log::error(std::string(ffi::last_error()));
      break;
    case ffi::Code::Deadlock:
      if (thd != nullptr) thd_mark_transaction_to_rollback(thd, 1);
      break;
    case ffi::Code::Interrupted:
      // If the server is told what interrupted the statement, it says so; otherwise it says 1317 for everything.
      if (thd != nullptr && thd->killed == THD::KILL_TIMEOUT) {
        thd->send_kill_message();
        return kErrorRaised;
      }
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

void raise(int error) {
  // The server's own format cuts the text off before its cause.
  my_printf_error(ER_GET_ERRMSG, "Got error %d '%s' from SMARTENGINE", MYF(0), error, message.c_str());
}

}  // namespace smartengine
