// The server's error log: one line for each event, through the server's logging service.

#ifndef SMARTENGINE_LOG_H
#define SMARTENGINE_LOG_H

#include <cstdint>
#include <string_view>

namespace smartengine::log {

/// What is of the level `system` is written however few lines the server is told to write.
enum class Level : uint8_t { error = 0, warning = 1, information = 2, system = 3 };

/// Acquires the logging service; true on failure, as the server's own functions do.
bool init();
void deinit();

/// Writes one line. May be called from any thread between `init` and `deinit`.
void write(Level level, std::string_view text);

inline void error(std::string_view text) { write(Level::error, text); }
inline void warning(std::string_view text) { write(Level::warning, text); }
inline void information(std::string_view text) { write(Level::information, text); }
inline void system(std::string_view text) { write(Level::system, text); }

/// What the bridge calls with the engine's own lines.
extern "C" void smartengine_log_sink(uint8_t level, const uint8_t *text, size_t size);

}  // namespace smartengine::log

#endif  // SMARTENGINE_LOG_H
