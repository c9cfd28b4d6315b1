// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// A token as small as can be, for TronBox to deploy and test.
contract Purse {
    mapping(address => uint256) public balanceOf;

    constructor(uint256 supply) {
        balanceOf[msg.sender] = supply;
    }

    function move(address to, uint256 amount) external {
        require(balanceOf[msg.sender] >= amount, "too much");
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }
}
