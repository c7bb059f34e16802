//! The cxx bridge between the engine and the MySQL plugin.
