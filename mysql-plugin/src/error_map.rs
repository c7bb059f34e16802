//! The engine's failures as the server's error numbers.

use smartengine_ffi::Code;

use crate::constants as c;

/// The HA_ERR number of a bridge code, or one of the plugin's own (`error_numbers.h`); 0 for success.
#[unsafe(no_mangle)]
pub extern "C" fn smartengine_ha_error(code: u8) -> i32 {
    match (Code { repr: code }) {
        Code::Ok => 0,
        // Callers that mean "key not found" say so themselves; a scan that ends is the common case.
        Code::NotFound => c::HA_ERR_END_OF_FILE,
        Code::Duplicate => c::HA_ERR_FOUND_DUPP_KEY,
        // 1205: the statement is undone, the transaction goes on.
        Code::LockTimeout => c::HA_ERR_LOCK_WAIT_TIMEOUT,
        // 3572, for NOWAIT.
        Code::LockNotAvailable => c::HA_ERR_NO_WAIT_LOCK,
        // 1213: the engine chose this transaction as the victim; its locks must go.
        Code::Deadlock => c::HA_ERR_LOCK_DEADLOCK,
        // 1206: smartengine_max_row_locks is reached.
        Code::LockLimit => c::HA_ERR_LOCK_TABLE_FULL,
        // KILL while waiting; the server turns it into the message of the kill's kind.
        Code::Interrupted => c::HA_ERR_QUERY_INTERRUPTED,
        // A checksum or a format failed; the message with object and offset is in the error log.
        Code::Corruption => c::HA_ERR_TABLE_CORRUPT,
        // 1114 "The table is full", as InnoDB reports a full disk.
        Code::OutOfSpace => c::HA_ERR_RECORD_FILE_FULL,
        // Not corruption: a lifecycle rule or a person may have removed the object and may bring it back.
        Code::ObjectMissing => c::kErrorObjectMissing,
        Code::AlreadyExists => c::kErrorAlreadyExists,
        // The store cannot be reached: temporary, and neither corruption nor a deadlock.
        Code::Unavailable => c::kErrorUnavailable,
        // Another writer took over; retrying here never helps.
        Code::Fenced => c::kErrorFenced,
        // A failed log write or sync stopped writes; reads go on.
        Code::ReadOnly => c::kErrorReadOnly,
        Code::Invalid => c::kErrorInvalid,
        // A defect of ours, a caught panic among them.
        _ => c::kErrorInternal,
    }
}
