// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.23;

/// A token that behaves like USDT on TRON where it matters to somebody who pays with it: 6 decimals, pausable, a
/// blacklist, a fee that can be switched on and is taken from the recipient, a deprecation flag, and a `transfer` that
/// returns false although it succeeded.
///
/// It has none of the value and none of the code of the real one. Bytes that follow the arguments in the call data are
/// ignored, as by every contract that decodes with the standard ABI.
contract TestUsdt {
    string public constant name = "Tether USD (test)";
    string public constant symbol = "USDT";
    uint8 public constant decimals = 6;

    uint256 private constant MAX = type(uint256).max;

    mapping(address => uint256) private balances;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public isBlackListed;
    uint256 public totalSupply;

    address public owner;
    bool public paused;
    bool public deprecated;
    address public upgradedAddress;

    /// Fee in basis points of the amount, and its highest value in units.
    uint256 public basisPointsRate;
    uint256 public maximumFee;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Issue(uint256 amount);
    event Redeem(uint256 amount);
    event Deprecate(address newAddress);
    event Params(uint256 feeBasisPoints, uint256 maxFee);
    event Pause();
    event Unpause();
    event AddedBlackList(address indexed user);
    event RemovedBlackList(address indexed user);
    event DestroyedBlackFunds(address indexed user, uint256 balance);
    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);

    modifier onlyOwner() {
        require(msg.sender == owner, "only the owner");
        _;
    }

    modifier whenNotPaused() {
        require(!paused, "paused");
        _;
    }

    constructor(uint256 initialSupply) {
        owner = msg.sender;
        totalSupply = initialSupply;
        balances[msg.sender] = initialSupply;
        emit Transfer(address(0), msg.sender, initialSupply);
    }

    function balanceOf(address account) external view returns (uint256) {
        return balances[account];
    }

    /// Succeeds and returns false: callers must look at the receipt and the log.
    function transfer(address to, uint256 value) external whenNotPaused returns (bool ok) {
        require(!isBlackListed[msg.sender], "blacklisted");
        move(msg.sender, to, value);
        ok = false;
    }

    function transferFrom(address from, address to, uint256 value) external whenNotPaused returns (bool ok) {
        require(!isBlackListed[from], "blacklisted");
        uint256 allowed = allowance[from][msg.sender];
        if (allowed != MAX) {
            require(allowed >= value, "allowance");
            unchecked {
                allowance[from][msg.sender] = allowed - value;
            }
        }
        move(from, to, value);
        ok = false;
    }

    function approve(address spender, uint256 value) external whenNotPaused returns (bool) {
        // An allowance is only ever changed through zero.
        require(value == 0 || allowance[msg.sender][spender] == 0, "allowance not zero");
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function calcFee(uint256 value) public view returns (uint256) {
        uint256 fee = value * basisPointsRate / 10000;
        return fee > maximumFee ? maximumFee : fee;
    }

    function move(address from, address to, uint256 value) private {
        require(to != address(0), "to the zero address");
        uint256 held = balances[from];
        require(held >= value, "balance");
        uint256 fee = basisPointsRate == 0 ? 0 : calcFee(value);
        unchecked {
            balances[from] = held - value;
            balances[to] += value - fee;
            if (fee > 0) {
                balances[owner] += fee;
                emit Transfer(from, owner, fee);
            }
        }
        emit Transfer(from, to, value - fee);
    }

    function issue(uint256 amount) external onlyOwner {
        totalSupply += amount;
        balances[owner] += amount;
        emit Issue(amount);
        emit Transfer(address(0), owner, amount);
    }

    function redeem(uint256 amount) external onlyOwner {
        balances[owner] -= amount;
        totalSupply -= amount;
        emit Redeem(amount);
        emit Transfer(owner, address(0), amount);
    }

    function setParams(uint256 newBasisPoints, uint256 newMaxFee) external onlyOwner {
        require(newBasisPoints < 20 && newMaxFee < 50, "fee too high");
        basisPointsRate = newBasisPoints;
        maximumFee = newMaxFee * 10 ** decimals;
        emit Params(basisPointsRate, maximumFee);
    }

    function pause() external onlyOwner whenNotPaused {
        paused = true;
        emit Pause();
    }

    function unpause() external onlyOwner {
        require(paused, "not paused");
        paused = false;
        emit Unpause();
    }

    function addBlackList(address user) external onlyOwner {
        isBlackListed[user] = true;
        emit AddedBlackList(user);
    }

    function removeBlackList(address user) external onlyOwner {
        isBlackListed[user] = false;
        emit RemovedBlackList(user);
    }

    function destroyBlackFunds(address user) external onlyOwner {
        require(isBlackListed[user], "not blacklisted");
        uint256 funds = balances[user];
        balances[user] = 0;
        totalSupply -= funds;
        emit DestroyedBlackFunds(user, funds);
    }

    /// Marks the contract as replaced; this one keeps working.
    function deprecate(address newAddress) external onlyOwner {
        deprecated = true;
        upgradedAddress = newAddress;
        emit Deprecate(newAddress);
    }

    function transferOwnership(address newOwner) external onlyOwner {
        require(newOwner != address(0), "to the zero address");
        emit OwnershipTransferred(owner, newOwner);
        owner = newOwner;
    }
}
