/* SPDX-License-Identifier: GPL-2.0-only */
/* What bindgen reads: the numbers that the Rust side names. */
#include "base/error_numbers.h"
#include "my_base.h"
