// The checks of `mysql-plugin/tests/codec_check.cc` without a server, for tools that watch a program: sanitizers, valgrind.
//
//   mysqld CHECK…    runs the checks named, and says what each answers

#include "../codec_check.cc"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "start.h"

namespace smartengine {

int run(int argc, char **argv) {
  bool sound = argc > 1;
  for (int i = 1; i < argc; ++i) {
    const std::string wrong = check(argv[i]);
    printf("%s: %s\n", argv[i], wrong.empty() ? "ok" : wrong.c_str());
    sound = sound && wrong.empty();
  }
  return sound ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace smartengine
