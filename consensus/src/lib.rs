//! The replicated ledger of epochs and the sans-IO driver of the BFT engine.
