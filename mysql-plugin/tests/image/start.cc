// Runs a program of ours inside the image of a server that never starts.
//
// The codecs use what the server exports: collations, fields, memory roots. A library that is preloaded into `mysqld` has all of it, once the
// server's own initialisers have run. So this file takes the place of the C library's `__libc_start_main`, through which
// every program starts, and passes it a `main` of ours instead of the server's.

#include "start.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "compat.h"
#include "my_sys.h"

namespace {

int main_of_ours(int argc, char **argv, char **) {
  if (my_init()) {
    fprintf(stderr, "the server's library does not start\n");
    return EXIT_FAILURE;
  }
  // Names are compared by it; the server's main sets it.
  system_charset_info = get_charset_by_name("utf8mb3_general_ci", MYF(0));
  return smartengine::run(argc, argv);
}

using Main = int (*)(int, char **, char **);
using Start = int (*)(Main, int, char **, void (*)(), void (*)(), void (*)(), void *);

}  // namespace

extern "C" int __libc_start_main(Main, int argc, char **argv, void (*init)(), void (*fini)(), void (*rtld_fini)(), void *stack_end) {
  const auto start = reinterpret_cast<Start>(dlsym(RTLD_NEXT, "__libc_start_main"));
  if (start == nullptr) abort();
  return start(main_of_ours, argc, argv, init, fini, rtld_fini, stack_end);
}
