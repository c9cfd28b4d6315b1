// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";

/// What people deploy in practice, for the client tests: the standard tokens as npm has them.
contract Coin is ERC20 {
    constructor() ERC20("Coin", "COIN") {
        _mint(msg.sender, 1000);
    }
}

contract Art is ERC721 {
    constructor() ERC721("Art", "ART") {
        _mint(msg.sender, 7);
    }
}

contract Items is ERC1155 {
    constructor() ERC1155("https://items.example/{id}") {
        _mint(msg.sender, 3, 50, "");
    }
}

/// Takes and returns TRX, with events and every way to fail.
contract Till {
    event Paid(address indexed by, uint256 amount, string note);

    error TooLittle(uint256 wanted, uint256 got);

    constructor() payable {}

    receive() external payable {
        emit Paid(msg.sender, msg.value, "received");
    }

    function pay(string calldata note) external payable returns (uint256) {
        if (msg.value < 10) revert TooLittle(10, msg.value);
        emit Paid(msg.sender, msg.value, note);
        return address(this).balance;
    }

    function payBack(address payable to, uint256 amount) external {
        (bool done,) = to.call{value: amount}("");
        require(done, "not paid back");
    }

    function divide(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }
}

/// Makes tills at addresses that are known beforehand.
contract Factory {
    event Made(address at);

    function make(bytes32 salt) external payable returns (address at) {
        at = address(new Till{salt: salt, value: msg.value}());
        emit Made(at);
    }
}
