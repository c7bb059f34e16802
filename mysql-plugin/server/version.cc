#include "server/version.h"

#include <cstdint>

#include "base/server_match.h"
#include "compat.h"
#include "sql/mysqld.h"

extern "C" uint32_t smartengine_version_number();
extern "C" const char *smartengine_version_name();
extern "C" const char *smartengine_formats();

namespace smartengine::version {

namespace {

constexpr std::string_view kBuiltFor = MYSQL_SERVER_VERSION;
#ifdef NDEBUG
constexpr bool kBuiltWithDebug = false;
#else
constexpr bool kBuiltWithDebug = true;
#endif

}  // namespace

unsigned int number() { return smartengine_version_number(); }

const char *text() {
  static const std::string text = std::string(smartengine_version_name()) + " (MySQL " + std::string(version_numbers(kBuiltFor)) +
                                  (kBuiltWithDebug ? " with debug assertions" : "") + "; formats: " + smartengine_formats() + ")";
  return text.c_str();
}

const char *description() {
  static const std::string description = std::string("Log-structured merge tree with the object store as its home; version ") + text();
  return description.c_str();
}

std::string refusal() { return server_mismatch(kBuiltFor, kBuiltWithDebug, server_version); }

}  // namespace smartengine::version
