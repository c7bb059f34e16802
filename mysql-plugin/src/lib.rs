//! The MySQL storage-engine plugin: links the bridge and the C++ handler.
