#include "base/log.h"

#define LOG_COMPONENT_TAG "SMARTENGINE"

#include <atomic>

#include "compat.h"
#include "mysql/components/services/log_builtins.h"
#include "mysql/service_plugin_registry.h"
#include "mysqld_error.h"

#ifdef MYSQL_DYNAMIC_PLUGIN
// The names are those that the server's logging macros expect to find.
static SERVICE_TYPE(registry) *reg_srv = nullptr;
SERVICE_TYPE(log_builtins) *log_bi = nullptr;
SERVICE_TYPE(log_builtins_string) *log_bs = nullptr;
#endif

namespace smartengine::log {

namespace {
std::atomic<bool> ready{false};
}

bool init() {
#ifdef MYSQL_DYNAMIC_PLUGIN
  if (init_logging_service_for_plugin(&reg_srv, &log_bi, &log_bs)) return true;
#endif
  ready.store(true, std::memory_order_release);
  return false;
}

void deinit() {
  ready.store(false, std::memory_order_release);
#ifdef MYSQL_DYNAMIC_PLUGIN
  deinit_logging_service_for_plugin(&reg_srv, &log_bi, &log_bs);
#endif
}

void write(Level level, std::string_view text) {
  if (!ready.load(std::memory_order_acquire)) return;
  const int size = static_cast<int>(text.size());
  switch (level) {
    case Level::error:
      LogPluginErrMsg(ERROR_LEVEL, ER_LOG_PRINTF_MSG, "%.*s", size, text.data());
      break;
    case Level::warning:
      LogPluginErrMsg(WARNING_LEVEL, ER_LOG_PRINTF_MSG, "%.*s", size, text.data());
      break;
    case Level::system:
      LogPluginErrMsg(SYSTEM_LEVEL, ER_LOG_PRINTF_MSG, "%.*s", size, text.data());
      break;
    case Level::information:
      LogPluginErrMsg(INFORMATION_LEVEL, ER_LOG_PRINTF_MSG, "%.*s", size, text.data());
      break;
  }
}

extern "C" void smartengine_log_sink(uint8_t level, const uint8_t *text, size_t size) {
  const auto bounded = level > 2 ? Level::information : static_cast<Level>(level);
  write(bounded, {reinterpret_cast<const char *>(text), size});
}

}  // namespace smartengine::log
