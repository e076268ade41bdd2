//! What a build may not do, and whose fault each end is.
