// The status variables, `Smartengine_…`.

#ifndef SMARTENGINE_STATUS_VARS_H
#define SMARTENGINE_STATUS_VARS_H

struct SHOW_VAR;

namespace smartengine::status_vars {

/// The array for the plugin's declaration.
extern SHOW_VAR all[];

}  // namespace smartengine::status_vars

#endif  // SMARTENGINE_STATUS_VARS_H
