/* Numbers for what the server has no HA_ERR for; the server asks handler::get_error_message for their text. They lie
   above the server's own. */

#ifndef SMARTENGINE_ERROR_NUMBERS_H
#define SMARTENGINE_ERROR_NUMBERS_H

namespace smartengine {

enum OwnError : int {
  /// The error stands in the session's diagnostics already.
  kErrorRaised = 1200,
  kErrorUnavailable = 1201,
  kErrorFenced = 1202,
  kErrorReadOnly = 1203,
  kErrorInvalid = 1204,
  kErrorObjectMissing = 1205,
  kErrorInternal = 1206,
  kErrorAlreadyExists = 1207,
};

}  // namespace smartengine

#endif  // SMARTENGINE_ERROR_NUMBERS_H
