// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// A token as small as can be that also keeps TRX, for TronBox to deploy and test.
contract Purse {
    event Moved(address indexed from, address indexed to, uint256 amount);
    event Paid(address indexed by, uint256 amount);

    address public owner = msg.sender;
    mapping(address => uint256) public balanceOf;

    constructor(uint256 supply) {
        balanceOf[msg.sender] = supply;
    }

    function move(address to, uint256 amount) external {
        require(balanceOf[msg.sender] >= amount, "too much");
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        emit Moved(msg.sender, to, amount);
    }

    function pay() external payable {
        emit Paid(msg.sender, msg.value);
    }

    function withdraw(address payable to, uint256 amount) external {
        require(msg.sender == owner, "not the owner");
        to.transfer(amount);
    }
}
