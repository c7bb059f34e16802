//! The cxx bridge between the engine and the MySQL plugin: handles, status and the panic guard.

mod bridge;
