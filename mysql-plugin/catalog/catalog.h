// The catalog: why a stock server can lose its disk. What the server's dictionary holds about users' work is kept as rows of the engine's
// dictionary too, and a server that starts with another dictionary is brought to it before the first client is let in.
//
//   entry     what is kept, and its bytes            hooks     the server's calls when something is defined
//   store     its rows in the engine                 capture   the catalog follows the server's dictionary
//   tables    in the transactions of tables' DDL     replay    the server's dictionary follows the catalog
//   reader    definitions, by SHOW CREATE            disk      which of the two is right
//   gtid      the executed GTID set
//
// At start, in a thread that the server waits for before it takes connections:
//
//   1. The catalog's token and generation are compared with those on this server's disk (disk.h).
//   2. The disk is in step, or there is no catalog yet: what the dictionary has and the catalog does not is captured, and the other way round
//      removed. Otherwise the catalog is replayed, its GTIDs are added to gtid_purged, and what this server has besides is captured.
//   3. A new token is written to the disk, then to the catalog. Captures begin.
//
// A crash during 1 or 2 leaves the token as it was, and the next start does the same again. A crash between the two writes of 3 leaves two tokens that
// differ: the next start replays, and finds everything there. A crash later finds the disk in step, and its dictionary right.
//
// Until the replay is over the event scheduler is held back, and so are replication channels that would start by themselves.
//
// The engine needs no second plugin for this: it registers the observer that the server calls before the first client once its own plugin is there
// to be named (post_recover). Installed into a running server it attaches at once, if nothing has to be made or dropped for that (the store is new, or
// this disk's own); otherwise it does not load. An attach that fails leaves a server that works: its tables can be read and written, not defined, and
// whoever defines anything else is warned that the store does not have it.

#ifndef SMARTENGINE_CATALOG_H
#define SMARTENGINE_CATALOG_H

struct handlerton;

namespace smartengine::catalog {

/// At the engine's open: nothing is captured yet. `after_attach` is called once the attach is over, however it went, before the first client is let in.
/// 0 or an error number.
int open(handlerton *handlerton, void (*after_attach)());
/// Whether the store was last written to by a server with another disk, so that its binary log is not here.
bool disk_is_anothers();

/// At a server's start, once the plugin counts as loaded: has `attach` called before the first client is let in.
bool observe_server();
/// In a running server: whether its dictionary is the one that the store has, so that nothing has to be made or dropped under its clients.
bool can_attach_running();
/// The same attach, in a thread of its own as soon as the plugin counts as loaded. What is defined until then waits for it.
void attach_running();

/// Before the server or the engine closes: what is left is captured.
void close();
/// Before the plugin goes.
void leave();

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_H
