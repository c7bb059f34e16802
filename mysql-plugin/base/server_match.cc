#include "base/server_match.h"

namespace smartengine {

std::string_view version_numbers(std::string_view version) { return version.substr(0, version.find_first_not_of("0123456789.")); }

std::string server_mismatch(std::string_view built_for, bool built_with_debug, std::string_view running) {
  // Every server with assertions has this in its version, before or after what else its makers add.
  const bool runs_with_debug = running.find("-debug") != std::string_view::npos;
  const bool is_other_version = version_numbers(built_for) != version_numbers(running);
  if (!is_other_version && built_with_debug == runs_with_debug) return {};
  const auto name = [](std::string_view version, bool debug) {
    return std::string(version_numbers(version)) + (debug ? " with debug assertions" : " without debug assertions");
  };
  return "the plugin was built for MySQL " + name(built_for, built_with_debug) + ", and this server is MySQL " +
         name(running, runs_with_debug) + ": build it for this server";
}

}  // namespace smartengine
