//! What nobody needs any more: what the engine lets go of, and what earlier runs have left.

mod orphans;
mod removal;

pub use self::orphans::OrphanSearch;
pub use self::removal::Remover;
