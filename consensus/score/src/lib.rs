//! Observations to credits, PoOT scores, leader and rewards.
