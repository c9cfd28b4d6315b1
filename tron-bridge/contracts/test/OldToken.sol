// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.4.26;

/// A token as they were compiled when USDT came to TRON: arithmetic that fails by `assert`, which takes all the energy,
/// and a `transfer` that returns nothing.
contract OldToken {
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    constructor(uint256 supply) public {
        balanceOf[msg.sender] = supply;
    }

    function transfer(address to, uint256 value) public {
        require(to != address(0));
        assert(balanceOf[msg.sender] >= value);
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
    }
}

/// The same, whose `transfer` returns false although it succeeded, as USDT's does.
contract OldFalseToken {
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    constructor(uint256 supply) public {
        balanceOf[msg.sender] = supply;
    }

    function transfer(address to, uint256 value) public returns (bool) {
        require(to != address(0));
        assert(balanceOf[msg.sender] >= value);
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
    }
}
