//! What is fetched from Debian's packages into the cache folder: the stock server, and the tools that the host may lack.

pub mod apt;
pub mod bootstrap;
pub mod cmake;
pub mod mysql;
pub mod tools;
pub mod valgrind;
