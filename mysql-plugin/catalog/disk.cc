#include "catalog/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/checksum.h"
#include "base/error_map.h"
#include "base/log.h"
#include "compat.h"
#include "sql/mysqld.h"

namespace smartengine::catalog::disk {

namespace {

constexpr uint32_t kMagic = 0x53454154;  // "SEAT"
constexpr uint16_t kFormatVersion = 1;
constexpr size_t kSize = 52;

std::mutex mutex;
std::optional<State> known;  ///< What was last written or read.

std::string path() {
  std::string base(mysql_real_data_home);
  if (!base.empty() && base.back() != '/') base.push_back('/');
  return base + "smartengine.attached";
}

/// A file descriptor that is closed.
class File {
 public:
  explicit File(int flags) : m_fd(::open(path().c_str(), flags | O_CLOEXEC, 0640)) {}
  ~File() {
    if (m_fd >= 0) ::close(m_fd);
  }
  File(const File &) = delete;
  File &operator=(const File &) = delete;
  int fd() const { return m_fd; }

 private:
  int m_fd;
};

int failed(const char *what) {
  const std::string why(strerror(errno));
  log::error(std::string(what) + ' ' + path() + ": " + why);
  return own_error(kErrorInternal, std::string(what) + ' ' + path() + ": " + why);
}

int write_locked(const State &state) {
  unsigned char bytes[kSize] = {};
  store_be32(bytes, kMagic);
  store_be16(bytes + 4, kFormatVersion);
  bytes[6] = state.clean ? 1 : 0;
  memcpy(bytes + 8, state.store_id.data(), std::min(state.store_id.size(), kIdSize));
  memcpy(bytes + 24, state.token.data(), std::min(state.token.size(), kIdSize));
  store_be64(bytes + 40, state.generation);
  store_be32(bytes + 48, crc32c(Slice{bytes, 48}));
  const File file(O_WRONLY | O_CREAT);
  if (file.fd() < 0) return failed("open");
  if (::pwrite(file.fd(), bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) return failed("write");
  if (::fsync(file.fd()) != 0) return failed("sync");
  known = state;
  return 0;
}

}  // namespace

std::optional<State> read() {
  const std::lock_guard<std::mutex> guard(mutex);
  known.reset();
  const File file(O_RDONLY);
  if (file.fd() < 0) return {};
  unsigned char bytes[kSize];
  if (::pread(file.fd(), bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) return {};
  if (load_be32(bytes) != kMagic || load_be16(bytes + 4) != kFormatVersion || crc32c(Slice{bytes, 48}) != load_be32(bytes + 48)) {
    log::warning(path() + " is damaged: this server's disk is taken for one that was never attached to the store");
    return {};
  }
  State state;
  state.clean = bytes[6] == 1;
  state.store_id.assign(reinterpret_cast<const char *>(bytes) + 8, kIdSize);
  state.token.assign(reinterpret_cast<const char *>(bytes) + 24, kIdSize);
  state.generation = load_be64(bytes + 40);
  known = state;
  return state;
}

int write(const State &state) {
  const std::lock_guard<std::mutex> guard(mutex);
  return write_locked(state);
}

int advance(uint64_t generation, uint64_t *result) {
  const std::lock_guard<std::mutex> guard(mutex);
  *result = generation;
  if (!known) return 0;
  State next = *known;
  next.generation = std::max(next.generation + 1, generation);
  *result = next.generation;
  return write_locked(next);
}

int set_clean(bool clean) {
  const std::lock_guard<std::mutex> guard(mutex);
  if (!known || known->clean == clean) return 0;
  State next = *known;
  next.clean = clean;
  return write_locked(next);
}

}  // namespace smartengine::catalog::disk
