// What performance_schema.data_locks and data_lock_waits show of this engine.

#ifndef SMARTENGINE_DATA_LOCKS_H
#define SMARTENGINE_DATA_LOCKS_H

namespace smartengine::data_locks {

/// Lets the server ask, from here on until `deinit`.
void init();
void deinit();

}  // namespace smartengine::data_locks

#endif  // SMARTENGINE_DATA_LOCKS_H
