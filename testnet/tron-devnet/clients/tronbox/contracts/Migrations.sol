// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// Where TronBox keeps how far it came.
contract Migrations {
    uint256 public last_completed_migration;

    function setCompleted(uint256 completed) external {
        last_completed_migration = completed;
    }
}
