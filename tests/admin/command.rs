//! The command line against the fixed host.
