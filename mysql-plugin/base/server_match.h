// Whether a server is the one that the plugin was compiled for.
//
// The plugin reads and writes structures of the server whose layout changes between versions, and between builds with and
// without debug assertions. The server compares a number that stands for its version and refuses a plugin of another, with
// "API version for STORAGE ENGINE plugin is too different". That number says nothing of debug assertions, so the plugin looks itself.

#ifndef SMARTENGINE_SERVER_MATCH_H
#define SMARTENGINE_SERVER_MATCH_H

#include <string>
#include <string_view>

namespace smartengine {

/// The numbers that a version begins with: `9.7.4` of `9.7.4-2-debug`. What vendors add behind them changes no structure.
std::string_view version_numbers(std::string_view version);

/// Why a plugin that was compiled for `built_for`, with or without debug assertions, cannot run in the server that calls itself
/// `running`; empty if it can.
std::string server_mismatch(std::string_view built_for, bool built_with_debug, std::string_view running);

}  // namespace smartengine

#endif  // SMARTENGINE_SERVER_MATCH_H
