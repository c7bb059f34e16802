//! Readers of a few transactions, in turn on one thread, against what they must show and lock.
//!
//! The table has rows and two indexes: one of which the entries end with the row's key, and one whose entries hold it. Lock requests do not
//! wait: those that would fail at once. A read that does not fail has to show the right entry with the right row; and after each read the
//! transaction holds locks on just those keys, and on no more than those gaps, that it has to.

mod model;
mod op;
mod run;
mod scan;
mod table;
