#include "server/data_locks.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/engine.h"
#include "compat.h"
#include "mysql/psi/mysql_thread.h"
#include "mysql/psi/psi_data_lock.h"
#include "server/lock_tables.h"
#include "table/dictionary.h"

/// The server's own: the engines that it asks. There is one place, and InnoDB has it; to register a second engine would
/// write past the array's end. Weak, for servers that do not export it.
extern PSI_engine_data_lock_inspector *g_data_lock_inspector[] __attribute__((weak));

namespace smartengine::data_locks {

namespace {

/// The inspector that was asked before, and is now asked through this one.
PSI_engine_data_lock_inspector *other = nullptr;

constexpr std::string_view kEngine = "SMARTENGINE";
/// How many locks are shown at most.
constexpr uint64_t kMostLocks = 100'000;

// What the server's `fetch` returns differs between versions: an error that never occurs, or nothing.
using LockFetched = decltype(std::declval<PSI_engine_data_lock_iterator &>().fetch(nullptr, nullptr, 0, false));
using WaitFetched = decltype(std::declval<PSI_engine_data_lock_wait_iterator &>().fetch(nullptr, nullptr, 0, nullptr, 0));

/// All that is locked and waited for at one moment, and who the transactions are.
class Listing {
 public:
  Listing() : m_locks(ffi::engine_locks(engine(), kMostLocks)) {
    for (const ffi::TransactionRow &trx : ffi::engine_transactions(engine())) {
      PSI_thread *thread = PSI_THREAD_CALL(get_thread_by_id)(trx.label);
      m_threads[trx.id] = thread == nullptr ? 0 : PSI_THREAD_CALL(get_thread_internal_id)(thread);
    }
  }

  const rust::Vec<ffi::LockRow> &locks() const { return m_locks; }

  uint64_t thread_of(uint64_t trx) const {
    const auto found = m_threads.find(trx);
    return found == m_threads.end() ? 0 : found->second;
  }

  /// The lock of `trx` that blocks `wanted`: one on the same key, or a gap over it.
  const ffi::LockRow *blocker(const ffi::LockRow &wanted, uint64_t trx) const {
    const ffi::LockRow *waiting = nullptr;
    for (const ffi::LockRow &lock : m_locks) {
      if (lock.txn != trx) continue;
      if (wanted.kind == ffi::LockKind::Insertion) {
        if (lock.kind == ffi::LockKind::Gap && !less(wanted.key, lock.key) && less(wanted.key, lock.end)) return &lock;
      } else if (wanted.kind == ffi::LockKind::Gap) {
        if (lock.kind == ffi::LockKind::Row && lock_tables::index_of(lock.key) == lock_tables::index_of(wanted.key) &&
            !less(lock.key, wanted.key))
          return &lock;
      } else if (lock.kind == ffi::LockKind::Row && equal(wanted.key, lock.key)) {
        if (lock.blocked_by.empty()) return &lock;
        waiting = &lock;
      }
    }
    return waiting;
  }

  /// Names a lock: its transaction, whether it is held, what it is on.
  static std::string id_of(const ffi::LockRow &lock) {
    return std::to_string(lock.txn) + (lock.blocked_by.empty() ? ":" : ":waits:") + lock_tables::mode_name(lock) + ":" +
           std::to_string(lock_tables::index_of(lock.key)) + ":" + lock_tables::key_text(lock.key);
  }

 private:
  static bool less(const rust::Vec<uint8_t> &a, const rust::Vec<uint8_t> &b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  }
  static bool equal(const rust::Vec<uint8_t> &a, const rust::Vec<uint8_t> &b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

  rust::Vec<ffi::LockRow> m_locks;
  std::unordered_map<uint64_t, uint64_t> m_threads;
};

/// First the other engine's locks, then this one's.
class LockIterator : public PSI_engine_data_lock_iterator {
 public:
  LockIterator() : m_other(other == nullptr ? nullptr : other->create_data_lock_iterator()) {}
  ~LockIterator() override {
    if (m_other != nullptr) other->destroy_data_lock_iterator(m_other);
  }
  LockIterator(const LockIterator &) = delete;
  LockIterator &operator=(const LockIterator &) = delete;

  bool scan(PSI_server_data_lock_container *container, bool with_data) override {
    if (m_other != nullptr && !m_other_done) {
      m_other_done = m_other->scan(container, with_data);
      return false;
    }
    // It is asked again after the end.
    if (!m_done) list(container, with_data, {});
    m_done = true;
    return true;
  }

  LockFetched fetch(PSI_server_data_lock_container *container, const char *id, size_t length, bool with_data) override {
    if (m_other != nullptr) m_other->fetch(container, id, length, with_data);
    list(container, with_data, {id, length});
    return LockFetched();
  }

 private:
  PSI_engine_data_lock_iterator *m_other;
  bool m_other_done = false;
  bool m_done = false;

  /// All locks that the container wants, or the one of this id.
  static void list(PSI_server_data_lock_container *container, bool with_data, std::string_view only) {
    if (!is_open() || !container->accept_engine(kEngine.data(), kEngine.size())) return;
    const Listing listing;
    const auto names = dictionary::index_names();
    for (const ffi::LockRow &lock : listing.locks()) {
      const std::string id = Listing::id_of(lock);
      const uint64_t thread = listing.thread_of(lock.txn);
      const auto found = names.find(lock_tables::index_of(lock.key));
      const dictionary::IndexName name = found == names.end() ? dictionary::IndexName{} : found->second;
      if ((!only.empty() && id != only) || !container->accept_lock_id(id.data(), id.size()) ||
          !container->accept_transaction_id(lock.txn) || !container->accept_thread_id_event_id(thread, 0) ||
          !container->accept_object(name.schema.data(), name.schema.size(), name.table.data(), name.table.size(), nullptr, 0, nullptr, 0))
        continue;
      const char *data = with_data ? container->cache_string(lock_tables::key_text(lock.key).c_str()) : nullptr;
      container->add_lock_row(kEngine.data(), kEngine.size(), container->cache_string(id.c_str()), id.size(), lock.txn, thread, 0,
                              container->cache_string(name.schema.c_str()), name.schema.size(), container->cache_string(name.table.c_str()),
                              name.table.size(), nullptr, 0, nullptr, 0, container->cache_string(name.index.c_str()), name.index.size(),
                              nullptr, lock_tables::mode_name(lock), "RECORD", lock.blocked_by.empty() ? "GRANTED" : "WAITING", data);
    }
  }
};

/// First the other engine's waits, then this one's.
class WaitIterator : public PSI_engine_data_lock_wait_iterator {
 public:
  WaitIterator() : m_other(other == nullptr ? nullptr : other->create_data_lock_wait_iterator()) {}
  ~WaitIterator() override {
    if (m_other != nullptr) other->destroy_data_lock_wait_iterator(m_other);
  }
  WaitIterator(const WaitIterator &) = delete;
  WaitIterator &operator=(const WaitIterator &) = delete;

  bool scan(PSI_server_data_lock_wait_container *container) override {
    if (m_other != nullptr && !m_other_done) {
      m_other_done = m_other->scan(container);
      return false;
    }
    if (!m_done) list(container, {}, {});
    m_done = true;
    return true;
  }

  WaitFetched fetch(PSI_server_data_lock_wait_container *container, const char *requesting, size_t requesting_length, const char *blocking,
                    size_t blocking_length) override {
    if (m_other != nullptr) m_other->fetch(container, requesting, requesting_length, blocking, blocking_length);
    list(container, {requesting, requesting_length}, {blocking, blocking_length});
    return WaitFetched();
  }

 private:
  PSI_engine_data_lock_wait_iterator *m_other;
  bool m_other_done = false;
  bool m_done = false;

  static void list(PSI_server_data_lock_wait_container *container, std::string_view only_requesting, std::string_view only_blocking) {
    if (!is_open() || !container->accept_engine(kEngine.data(), kEngine.size())) return;
    const Listing listing;
    for (const ffi::LockRow &lock : listing.locks()) {
      for (const uint64_t blocker : lock.blocked_by) {
        const std::string requesting = Listing::id_of(lock);
        const ffi::LockRow *held = listing.blocker(lock, blocker);
        const std::string blocking = held == nullptr ? std::to_string(blocker) : Listing::id_of(*held);
        if (!only_requesting.empty() && (requesting != only_requesting || blocking != only_blocking)) continue;
        const uint64_t thread = listing.thread_of(lock.txn);
        const uint64_t blocking_thread = listing.thread_of(blocker);
        if (!container->accept_requesting_lock_id(requesting.data(), requesting.size()) ||
            !container->accept_blocking_lock_id(blocking.data(), blocking.size()) ||
            !container->accept_requesting_transaction_id(lock.txn) || !container->accept_blocking_transaction_id(blocker) ||
            !container->accept_requesting_thread_id_event_id(thread, 0) ||
            !container->accept_blocking_thread_id_event_id(blocking_thread, 0))
          continue;
        container->add_lock_wait_row(kEngine.data(), kEngine.size(), container->cache_string(requesting.c_str()), requesting.size(),
                                     lock.txn, thread, 0, nullptr, container->cache_string(blocking.c_str()), blocking.size(), blocker,
                                     blocking_thread, 0, nullptr);
      }
    }
  }
};

class Inspector : public PSI_engine_data_lock_inspector {
 public:
  PSI_engine_data_lock_iterator *create_data_lock_iterator() override { return new LockIterator; }
  PSI_engine_data_lock_wait_iterator *create_data_lock_wait_iterator() override { return new WaitIterator; }
  void destroy_data_lock_iterator(PSI_engine_data_lock_iterator *iterator) override { delete iterator; }
  void destroy_data_lock_wait_iterator(PSI_engine_data_lock_wait_iterator *iterator) override { delete iterator; }
};

Inspector inspector;

}  // namespace

void init() {
  if (g_data_lock_inspector == nullptr) return;
  other = g_data_lock_inspector[0];
  g_data_lock_inspector[0] = &inspector;
}

// What a statement has begun to read through here it may read to its end: the library stays loaded.
void deinit() {
  if (g_data_lock_inspector != nullptr && g_data_lock_inspector[0] == &inspector) g_data_lock_inspector[0] = other;
}

}  // namespace smartengine::data_locks
