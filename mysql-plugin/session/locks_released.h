// A call in the session's own thread when it has done a statement's work and released its locks, before its client is answered.
//
// The server announces that moment to nobody, but it tells engines when an exclusive metadata lock was released. So the session takes one more, which stands for
// no object; the server releases it with the session's others.

#ifndef SMARTENGINE_LOCKS_RELEASED_H
#define SMARTENGINE_LOCKS_RELEASED_H

class THD;
struct MDL_key;

namespace smartengine::locks_released {

/// What is to be done then.
extern const char *const kCommitted;
extern const char *const kCaptured;
extern const char *const kGtidsReset;

/// Asks for that call. False if it cannot be arranged; the session then has an error.
bool tell(THD *thd, const char *what);

/// What a lock of this kind was taken for; null for any other lock.
const char *told(const MDL_key &key);

}  // namespace smartengine::locks_released

#endif  // SMARTENGINE_LOCKS_RELEASED_H
