#include "session/xid_name.h"

#include "base/byte_buffer.h"
#include "sql/transaction_info.h"

namespace smartengine::xid_name {

namespace {

constexpr size_t kNameHeaderSize = 6;

}  // namespace

std::string encode(const XID &xid) {
  const auto gtrid = static_cast<size_t>(xid.get_gtrid_length());
  const auto bqual = static_cast<size_t>(xid.get_bqual_length());
  unsigned char header[kNameHeaderSize];
  store_be32(header, static_cast<uint32_t>(xid.get_format_id()));
  header[4] = static_cast<unsigned char>(gtrid);
  header[5] = static_cast<unsigned char>(bqual);
  std::string name(reinterpret_cast<const char *>(header), kNameHeaderSize);
  name.append(xid.get_data(), gtrid + bqual);
  return name;
}

bool decode(const rust::Vec<uint8_t> &name, XID *xid) {
  if (name.size() < kNameHeaderSize) return false;
  const size_t gtrid = name[4];
  const size_t bqual = name[5];
  if (gtrid > MAXGTRIDSIZE || bqual > MAXBQUALSIZE || name.size() < kNameHeaderSize + gtrid + bqual) return false;
  const auto *data = reinterpret_cast<const char *>(name.data()) + kNameHeaderSize;
  xid->set(static_cast<int32_t>(load_be32(name.data())), data, static_cast<long>(gtrid), data + gtrid, static_cast<long>(bqual));
  return true;
}

bool is_external(const THD *thd) { return thd->get_transaction()->xid_state()->get_xid()->get_my_xid() == 0; }

std::string of(const THD *thd) {
  const XID &xid = *thd->get_transaction()->xid_state()->get_xid();
  return encode(xid) + (is_external(thd) ? std::string() : owned_gtid(thd));
}

}  // namespace smartengine::xid_name
