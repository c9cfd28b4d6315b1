//! From observations to credits, PoOT scores, leaders and rewards.
//!
//! Integer arithmetic only; every function is a function of its arguments, so that anyone can recompute any score
//! from the blocks. The rules are those of `docs/src/specification.md`.

pub mod aggregate;
pub mod credits;
pub mod draw;
pub mod leader;
pub mod median;
pub mod report;
pub mod reward;
pub mod score;
pub mod seats;
pub mod storage;
pub mod worker_stats;
