// Puts the engine among the built-in plugins of a stock server that this is preloaded into, in the place of BLACKHOLE.
//
// A server that is linked with the engine has it in its table of such plugins from the start. The stock server's table is a variable that it exports, and
// it is read long after the initialisers of a preloaded library have run.

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

/// The engine's declaration. What is in it is between the engine and the server.
extern char builtin_smartengine_plugin;

namespace {

__attribute__((constructor)) void take_place() {
  auto *const table = static_cast<const void **>(dlsym(RTLD_DEFAULT, "mysql_optional_plugins"));
  const void *const other = dlsym(RTLD_DEFAULT, "builtin_blackhole_plugin");
  // Other programs that the server starts have no such table.
  if (table == nullptr) return;
  for (const void **plugin = table; *plugin != nullptr; ++plugin) {
    if (*plugin != other) continue;
    *plugin = &builtin_smartengine_plugin;
    return;
  }
  std::fputs("the server has no BLACKHOLE built in, whose place the engine could take\n", stderr);
  std::exit(1);
}

}  // namespace
