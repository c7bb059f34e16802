#include "catalog/attach_state.h"

#include <atomic>

namespace smartengine::catalog {

namespace {

std::atomic<AttachState> state{AttachState::kDetached};

}  // namespace

AttachState attach_state() { return state.load(std::memory_order_acquire); }

void set_attach_state(AttachState next) { state.store(next, std::memory_order_release); }

}  // namespace smartengine::catalog
