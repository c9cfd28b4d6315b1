//! Local Lucid networks of real processes on a local TRON network.
