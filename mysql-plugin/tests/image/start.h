// What start.cc calls in place of the server's main.

#ifndef SMARTENGINE_TESTS_IMAGE_START_H
#define SMARTENGINE_TESTS_IMAGE_START_H

namespace smartengine {

/// The program; what it returns is the process's status.
int run(int argc, char **argv);

}  // namespace smartengine

#endif  // SMARTENGINE_TESTS_IMAGE_START_H
