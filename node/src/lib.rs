//! The Lucid node: daemon and command line.
