//! Peers that break the rules: with raw sockets, and with libp2p behaviours of their own.
