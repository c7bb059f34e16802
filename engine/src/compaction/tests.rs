//! Pickers.
