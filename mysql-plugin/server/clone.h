// CLONE copies InnoDB's files alone: a copy would have every SMARTENGINE table in its dictionary and the rows of none.
//
// The server asks the engines one by one to begin, and does not tell those that have begun when a later one refuses: InnoDB,
// asked first, would be left with a clone that never ends. So it is InnoDB's own hooks that are put behind ours while the
// plugin is loaded.

#ifndef SMARTENGINE_CLONE_H
#define SMARTENGINE_CLONE_H

namespace smartengine {

/// From now on CLONE fails before anything is copied from this server, or replaced in it.
void refuse_clone();

/// Takes that back.
void allow_clone();

}  // namespace smartengine

#endif
