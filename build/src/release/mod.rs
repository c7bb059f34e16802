//! What users install: the plugin for one server, the program `smartengine`, and what belongs to both.
//!
//! `contents` builds them and lays them out as they are installed; `deb` and `rpm` make packages of that. Whatever is made carries the time of the commit that it was made
//! of, and nothing of the machine that it was made on.

mod contents;
pub mod deb;
mod facts;
pub mod rpm;
