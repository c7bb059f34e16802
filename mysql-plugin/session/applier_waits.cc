#include "session/applier_waits.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "compat.h"
#include "mysql/service_thd_engine_lock.h"

namespace smartengine::applier_waits {

namespace {

/// Held while the server looks at sessions, so that none of them goes away meanwhile.
std::mutex mutex;
std::unordered_map<uint64_t, THD *> appliers;
/// Lets servers that replicate nothing skip the mutex.
std::atomic<size_t> count{0};

}  // namespace

void note(THD *thd) {
  if (!thd->slave_thread) return;
  const std::lock_guard<std::mutex> guard(mutex);
  appliers[thd->thread_id()] = thd;
  count.store(appliers.size(), std::memory_order_relaxed);
}

void forget(const THD *thd) {
  if (!thd->slave_thread) return;
  const std::lock_guard<std::mutex> guard(mutex);
  appliers.erase(thd->thread_id());
  count.store(appliers.size(), std::memory_order_relaxed);
}

extern "C" void smartengine_wait_observer(uint64_t waiting, uint64_t awaited) {
  if (count.load(std::memory_order_relaxed) < 2) return;
  const std::lock_guard<std::mutex> guard(mutex);
  const auto self = appliers.find(waiting);
  const auto other = appliers.find(awaited);
  if (self != appliers.end() && other != appliers.end()) thd_report_row_lock_wait(self->second, other->second);
}

}  // namespace smartengine::applier_waits
