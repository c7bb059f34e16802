//! A transactional log-structured key-value store whose durable home is an object store.
