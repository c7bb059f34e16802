// Commit in two phases, as the server's transaction coordinator asks for it: with the binary log, among engines, and for
// XA START … XA PREPARE.
//
// `prepare` writes the session's changes to the engine's log under the transaction's XID; nothing shows and all locks
// stay. From then on only the coordinator decides. Where the binary log is on it syncs once for a group of prepares
// (`flush_logs`), writes the binary log, and then commits. A crash before the binary log has the transaction rolls it
// back at the next start, a crash after that commits it.
//
// So what the binary log has must not fail here: the server heeds no error then, it would go on without the
// transaction and give its GTID to another one. Where the log cannot be synced for a group, or a decision not be carried
// out, the server is stopped, and recovery decides by the binary log.
//
// A server without a binary log keeps GTIDs in a table of InnoDB's, with the second phase of InnoDB's part. A crash between the phases would lose the
// GTID of a replica's transaction, which recovery commits by its XID alone: so the GTID is part of the name under which it is prepared.
//
// An XA transaction leaves its session when it is prepared, or when the session ends. The engine keeps it, with its
// locks, until XA COMMIT or XA ROLLBACK comes from any session, also after a restart.

#ifndef SMARTENGINE_XA_H
#define SMARTENGINE_XA_H

struct handlerton;

namespace smartengine::xa {

/// Undoes what the binary log of another server was to decide about: that log is not here, and none of it was acknowledged as being in the store. A
/// server would refuse to start with it. What an external coordinator prepared stays prepared.
void roll_back_others();

/// Before the server recovers: commits transactions whose InnoDB part has committed without the binary log knowing of them (innodb_part.h). False, with
/// the reason in the error log, if that cannot be done.
bool commit_after_innodb();

/// Recovery is not to lock the tables of prepared transactions: the catalog has to make them first, which their locks would prevent.
void leave_tables_unlocked();

/// Locks those tables as recovery would have, before any client could change their definitions.
void lock_tables();

/// Fills in the handlerton's hooks for the sync of groups, for recovery and for transactions without a session.
void install_hooks(handlerton *handlerton);

}  // namespace smartengine::xa

#endif  // SMARTENGINE_XA_H
