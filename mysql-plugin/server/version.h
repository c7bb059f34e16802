// What this build of the plugin is: its version, the server that it was compiled for, the versions of the engine's formats.
//
// All of it may be asked for while the library is loaded, before anything is initialised: the plugin's declaration has it.

#ifndef SMARTENGINE_VERSION_H
#define SMARTENGINE_VERSION_H

#include <string>

namespace smartengine::version {

/// Major and minor number, as the server shows them.
unsigned int number();

/// `0.1.0 (MySQL 9.7.4; formats: manifest 3, …)`; stays.
const char *text();

/// What SHOW PLUGINS and SHOW ENGINES say of the plugin; stays.
const char *description();

/// Why the plugin cannot be used in the server that it is in; empty if it can.
std::string refusal();

}  // namespace smartengine::version

#endif  // SMARTENGINE_VERSION_H
