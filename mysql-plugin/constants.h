/* SPDX-License-Identifier: GPL-2.0-only */
/* What bindgen reads: the server's numbers that the Rust side names. */
#include "my_base.h"
