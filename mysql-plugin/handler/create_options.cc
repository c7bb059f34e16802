#include "handler/create_options.h"

#include <string>

#include "mysqld_error.h"
#include "sql/sql_error.h"

namespace smartengine::create_options {

namespace {

void warn(THD *thd, const std::string &text) {
  push_warning_printf(thd, Sql_condition::SL_WARNING, ER_ILLEGAL_HA_CREATE_OPTION, "SMARTENGINE: %s", text.c_str());
}

/// Zero takes the option away.
bool is_block_size(uint32_t size) { return size <= 16 && (size & (size - 1)) == 0; }

const char *uncompressed_name(enum row_type format) {
  switch (format) {
    case ROW_TYPE_DYNAMIC:
      return "DYNAMIC";
    case ROW_TYPE_COMPACT:
      return "COMPACT";
    case ROW_TYPE_REDUNDANT:
      return "REDUNDANT";
    default:
      return nullptr;
  }
}

bool is_foreign_format(enum row_type format) { return format == ROW_TYPE_FIXED || format == ROW_TYPE_PAGED || format == ROW_TYPE_NOT_USED; }

}  // namespace

const char *refused(THD *thd, const HA_CREATE_INFO &create_info) {
  if ((create_info.used_fields & (HA_CREATE_USED_KEY_BLOCK_SIZE | HA_CREATE_USED_ROW_FORMAT)) == 0) return nullptr;
  const bool strict = thd->is_strict_mode();
  const std::string size = std::to_string(create_info.key_block_size);
  const char *const uncompressed = uncompressed_name(create_info.row_type);
  const char *option = nullptr;
  if (!is_block_size(create_info.key_block_size)) {
    warn(thd,
         strict ? "invalid KEY_BLOCK_SIZE = " + size + ". Valid values are [1, 2, 4, 8, 16]" : "ignoring KEY_BLOCK_SIZE=" + size + '.');
    option = "KEY_BLOCK_SIZE";
  } else if (create_info.key_block_size != 0 && uncompressed != nullptr) {
    warn(thd, strict ? std::string("cannot specify ROW_FORMAT=") + uncompressed + " with KEY_BLOCK_SIZE."
                     : "ignoring KEY_BLOCK_SIZE=" + size + " as ROW_FORMAT is not COMPRESSED.");
    option = "KEY_BLOCK_SIZE";
  }
  if (is_foreign_format(create_info.row_type)) {
    warn(thd, strict ? "invalid ROW_FORMAT specifier." : "assuming ROW_FORMAT=DYNAMIC.");
    option = "ROW_TYPE";
  }
  return strict ? option : nullptr;
}

}  // namespace smartengine::create_options
