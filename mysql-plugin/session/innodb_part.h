// Transactions over InnoDB and this engine that the binary log does not get: with sql_log_bin = 0, in schemas that are left out of it, and all that a replica
// applies that writes no binary log of its own. DDL is one as well, since the server's dictionary is InnoDB's.
//
// The server prepares and commits both parts, and writes nothing down in between: after a crash it rolls back what it finds prepared, though the other part
// may have committed. The same holds for DDL where a log is synced less often than at each commit (sync_binlog, innodb_flush_log_at_trx_commit or
// smartengine_flush_log_at_trx_commit other than 1): what was written down may be gone after a loss of power, while one of the parts is not. For rows the
// user has chosen that; but of a table neither may be left with what the other has dropped. So InnoDB's part decides. It commits first, and this engine's
// part is put on record as one whose counterpart is known to be prepared. After a crash, by what InnoDB has of it:
//
// - ours is not on record: InnoDB's part cannot have committed. The server rolls both back;
// - ours is on record, and InnoDB lists its part as prepared: the same;
// - ours is on record, and InnoDB lists nothing: its part has committed, and so does ours, before the server asks for what is prepared.
//
// The parts are prepared and committed in an order that follows from how the transaction began. Where this engine is asked to commit first it has InnoDB
// commit before; that the server asks InnoDB again does nothing more.
//
// For DDL both logs are synced before each of these steps, whatever is set, and so InnoDB's commit is on the disk before this engine's is made, and this
// engine's before an index is dropped for good: what destroys is never more durable than what decided it. Otherwise InnoDB's log is written to
// the disk as innodb_flush_log_at_trx_commit says: at 0 a kill may lose what InnoDB was told, and the parts may differ, as they may at 2
// after a loss of power. Where a transaction is rolled back after it was prepared, say since an earlier one of a replica's waits for it, a kill right between the
// rollbacks of the two parts leaves ours on record, and it commits.

#ifndef SMARTENGINE_INNODB_PART_H
#define SMARTENGINE_INNODB_PART_H

#include <optional>
#include <set>

#include "compat.h"
#include "sql/xa.h"

namespace smartengine::innodb_part {

/// InnoDB's part in the session's transaction, or statement.
struct Part {
  handlerton *innodb;
  bool is_first;  ///< The server calls InnoDB before this engine.
};

/// Nothing where InnoDB has no changes in it.
std::optional<Part> of(THD *thd, bool all);

/// Whether some log is synced less often than at each commit.
bool logs_are_relaxed();

/// Has InnoDB write its log.
void write_log(const Part &part);
/// Has InnoDB sync its log, whatever is set.
void sync_log(const Part &part);

/// Commits InnoDB's part. 0, or an error number.
int commit(const Part &part, THD *thd, bool all);

/// Before the server recovers: what InnoDB has prepared. False if that is not known.
bool list_prepared(std::set<XID> *xids);

}  // namespace smartengine::innodb_part

#endif  // SMARTENGINE_INNODB_PART_H
