#include "base/engine.h"

#include <atomic>
#include <cstdlib>

#include "base/error_map.h"
#include "base/log.h"

namespace smartengine {

handlerton *hton = nullptr;

namespace {

std::atomic<ffi::EngineHandle *> open_handle{nullptr};

}  // namespace

bool is_open() { return open_handle.load(std::memory_order_acquire) != nullptr; }

ffi::EngineHandle &engine() { return *open_handle.load(std::memory_order_acquire); }

ffi::EngineHandle *exchange_engine(ffi::EngineHandle *next) { return open_handle.exchange(next, std::memory_order_acq_rel); }

void stop_server(const std::string &what) {
  log::error("cannot " + what + " though it is decided: the server stops, and the next start carries it out");
  std::abort();
}

void drop_indexes(const std::vector<uint32_t> &indexes) {
  if (indexes.empty()) return;
  const ffi::Status status = ffi::engine_drop_indexes(engine(), {indexes.data(), indexes.size()});
  if (!ok(status)) log::warning("drop of an index, left to the next start: " + std::string(ffi::last_error()));
}

}  // namespace smartengine
