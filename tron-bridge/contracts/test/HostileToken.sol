// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.23;

/// A token for tests of the vault that does, when told to, what a token should not do. It behaves on one transfer after
/// `set`, to `victim` or, if that is 0, to anybody.
contract HostileToken {
    enum Mode {
        Plain,
        /// Returns false and moves nothing.
        ReturnFalse,
        /// Returns true and moves nothing.
        MoveNothing,
        /// Takes a unit more from the sender.
        TakeMore,
        /// Gives the sender a unit from nowhere.
        GiveBack,
        /// Reverts.
        Refuse,
        /// Needs `appetite` energy.
        Devour,
        /// Calls `target` with `data` first, and keeps the answer.
        CallBack
    }

    mapping(address => uint256) public balanceOf;
    Mode public mode;
    address public victim;
    uint256 public appetite;
    address public target;
    bytes public data;
    bool public answered;
    bool public succeeded;
    bytes public answer;

    event Transfer(address indexed from, address indexed to, uint256 value);

    constructor(uint256 supply) {
        balanceOf[msg.sender] = supply;
    }

    function set(Mode mode_, address victim_, uint256 appetite_) external {
        (mode, victim, appetite) = (mode_, victim_, appetite_);
    }

    function setCall(address target_, bytes calldata data_) external {
        (target, data, answered) = (target_, data_, false);
    }

    /// Calls something in this contract's name, which may be an owner or a signer of the vault.
    function run(address target_, bytes calldata data_) external {
        (bool ok, bytes memory back) = target_.call(data_);
        if (!ok) {
            assembly {
                revert(add(back, 32), mload(back))
            }
        }
    }

    function transfer(address to, uint256 value) external returns (bool) {
        Mode now_ = victim == address(0) || victim == to ? mode : Mode.Plain;
        if (now_ == Mode.ReturnFalse) return false;
        if (now_ == Mode.MoveNothing) return true;
        if (now_ == Mode.Refuse) revert("refused");
        if (now_ == Mode.Devour) {
            uint256 start = gasleft();
            while (start - gasleft() < appetite) {}
        }
        if (now_ == Mode.CallBack && !answered) {
            answered = true;
            (succeeded, answer) = target.call(data);
        }
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        if (now_ == Mode.TakeMore) --balanceOf[msg.sender];
        if (now_ == Mode.GiveBack) ++balanceOf[msg.sender];
        emit Transfer(msg.sender, to, value);
        return true;
    }
}
