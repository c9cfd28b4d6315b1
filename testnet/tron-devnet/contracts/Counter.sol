// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.23;

/// What [`Counter`] makes.
contract Child {
    uint256 public immutable start;

    constructor(uint256 start_) payable {
        start = start_;
    }
}

/// A contract that has nothing to do with tokens, for tests: it counts, keeps TRX, makes children and fails on demand.
contract Counter {
    uint256 public count;
    mapping(address => uint256) public deposits;
    address public lastChild;

    event Counted(address indexed by, uint256 count);

    constructor(uint256 start) payable {
        count = start;
    }

    function increment(uint256 by) external returns (uint256) {
        count += by;
        emit Counted(msg.sender, count);
        return count;
    }

    function deposit() external payable {
        deposits[msg.sender] += msg.value;
    }

    function withdraw(address payable to, uint256 amount) external {
        deposits[msg.sender] -= amount;
        to.transfer(amount);
    }

    function spawn(uint256 start) external returns (address) {
        lastChild = address(new Child(start));
        return lastChild;
    }

    function fail() external pure {
        revert("on demand");
    }

    function burn() external pure {
        while (true) {}
    }

    function chain() external view returns (uint256 id, uint256 number, uint256 time) {
        return (block.chainid, block.number, block.timestamp);
    }
}
