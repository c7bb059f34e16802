#include "session/innodb_part.h"

#include <vector>

#include "base/engine.h"
#include "sql/mysqld.h"
#include "sql/transaction_info.h"

namespace smartengine::innodb_part {

namespace {

/// More than there are sessions.
constexpr size_t kMostPrepared = 1 << 17;

}  // namespace

std::optional<Part> of(THD *thd, bool all) {
  bool passed_ours = false;
  for (const Ha_trx_info &info : thd->get_transaction()->ha_trx_info(all ? Transaction_ctx::SESSION : Transaction_ctx::STMT)) {
    if (info.ht() == hton) passed_ours = true;
    if (info.ht()->db_type == DB_TYPE_INNODB && info.is_trx_read_write()) return Part{info.ht(), !passed_ours};
  }
  return {};
}

bool logs_are_relaxed() {
  const bool binary_log = opt_bin_log && sync_binlog_period != 1;
  return binary_log || srv_flush_log_at_trx_commit != 1 || !ffi::engine_syncs_each_commit(engine());
}

void sync_log(const Part &part) { part.innodb->flush_logs(part.innodb, false); }

void write_log(const Part &part) { part.innodb->flush_logs(part.innodb, true); }

int commit(const Part &part, THD *thd, bool all) { return part.innodb->commit(part.innodb, thd, all); }

bool list_prepared(std::set<XID> *xids) {
  handlerton *innodb = ha_resolve_by_legacy_type(nullptr, DB_TYPE_INNODB);
  if (innodb == nullptr || innodb->recover == nullptr) return false;
  std::vector<XA_recover_txn> found(kMostPrepared);
  MEM_ROOT root(PSI_NOT_INSTRUMENTED, 1024);
  const int count = innodb->recover(innodb, found.data(), static_cast<uint>(found.size()), &root);
  if (count < 0 || static_cast<size_t>(count) == found.size()) return false;
  for (int i = 0; i < count; ++i) xids->insert(found[static_cast<size_t>(i)].id);
  return true;
}

}  // namespace smartengine::innodb_part
