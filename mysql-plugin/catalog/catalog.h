// The catalog: why a stock server can lose its disk. What the server's dictionary holds about users' work is kept as rows of the engine's
// dictionary too, and a server that starts with another dictionary is brought to it before the first client is let in.
//
//   catalog_entry     what is kept, and its bytes            catalog_capture   the catalog follows the server's dictionary
//   catalog_store     its rows in the engine                 catalog_replay    the server's dictionary follows the catalog
//   catalog_tables    in the transactions of tables' DDL     catalog_disk      which of the two is right
//   catalog_reader    definitions, by SHOW CREATE            catalog_gtid      the executed GTID set
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

#ifndef SMARTENGINE_CATALOG_H
#define SMARTENGINE_CATALOG_H

struct handlerton;

namespace smartengine::catalog {

/// At the engine's open: nothing is captured yet.
int open(handlerton *handlerton);
/// Whether the store was last written to by a server with another disk, so that its binary log is not here.
bool disk_is_anothers();
/// Before the engine closes.
void close();
/// Whether an attach was refused: DDL on this engine's tables is refused too.
bool is_refused();

/// The plugin beside the engine that gets the server's calls at start and shutdown.
int init(void *plugin);
int deinit(void *plugin);

}  // namespace smartengine::catalog

#endif  // SMARTENGINE_CATALOG_H
