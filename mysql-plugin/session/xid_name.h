// What the engine calls a session's transaction: the name under which it is prepared, and found again after a restart.
//
//   u32 format | u8 length of gtrid | u8 length of bqual | both, one after the other | of a replica's transaction: its GTID, as text
//
// Big endian.

#ifndef SMARTENGINE_XID_NAME_H
#define SMARTENGINE_XID_NAME_H

#include <string>

#include "compat.h"
#include "smartengine-ffi/src/bridge.rs.h"
#include "sql/xa.h"

namespace smartengine::xid_name {

/// The name of an XID alone.
std::string encode(const XID &xid);
/// The XID that a name begins with; false if it begins with none.
bool decode(const rust::Vec<uint8_t> &name, XID *xid);

/// Whether a client decides about the session's transaction when it is prepared, and not the server.
bool is_external(const THD *thd);

/// The name of the session's transaction, with its GTID if it has one by now.
std::string of(const THD *thd);

}  // namespace smartengine::xid_name

#endif  // SMARTENGINE_XID_NAME_H
