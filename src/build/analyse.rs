//! What the files of a package provide and need at run time.
