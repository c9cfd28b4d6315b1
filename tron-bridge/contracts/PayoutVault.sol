// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.23;

/// The part of a TRC-20 token that the vault uses. What `transfer` returns is ignored: USDT on TRON returns false.
interface IToken {
    function balanceOf(address holder) external view returns (uint256);
    function transfer(address to, uint256 amount) external;
}

/// @title Pays what a ledger says is owed, every unit of it once
/// @notice A ledger outside of this chain keeps, for every account of a pool, the total that it was ever owed. k of n
/// signers sign the Merkle root of (account id, recipient, total owed). Whoever likes pushes payments under the newest
/// root; `paid` remembers what each account has had, and the vault pays the difference. A payment that is sent twice, by
/// anybody, in any order, after any crash, pays nothing the second time.
/// @dev docs/src/payout-vault.md is the specification: digests and tree to the byte, who can do what, and the reasons.
/// There is no proxy, no delegate call, no self-destruction and no setter beside those below. What the constructor fixes
/// lies in storage rather than in the code (a read costs 50 energy on TRON), so that all vaults have the same code hash.
/// Amounts are units of the token (micro-USDT); times are seconds since the epoch.
contract PayoutVault {
    /// A leaf of the tree: all that `id` was ever owed, and who gets it.
    struct Item {
        bytes32 id;
        address to;
        uint64 owed;
    }

    /// Who alone earns the push fee, and until when.
    struct Turn {
        address leader;
        uint64 until;
    }

    /// What is in force: the newest root's settlement, all that may ever be paid out under it, the part of that for push
    /// fees, and which signers (era, number of signatures). `nonce` counts rotations and changes of limits.
    struct Head {
        uint64 settlement;
        uint64 total;
        uint64 fees;
        uint32 era;
        uint24 nonce;
        uint8 threshold;
    }

    /// Most that leaves by payments and fees in one period, and the fee for pushing an item.
    struct Limits {
        uint64 cap;
        uint64 pushFee;
    }

    /// Pauses and the end. Bitmaps hold a bit for each signer: who has used up its pause of this era, who stands behind
    /// the pause in force, who wants an end of all pauses. A time of 0 means that it was not announced.
    struct Stops {
        uint64 ownerPauseFrom;
        uint64 signerPauseUntil;
        uint64 closeFrom;
        uint16 used;
        uint16 pausing;
        uint16 lifting;
    }

    /// A withdrawal that the owner has announced.
    struct Request {
        address to;
        uint64 amount;
        uint64 from;
    }

    /// What `snapshot` answers: what the views of these names and `flow` say, in `funds` the vault's balance of the token,
    /// and in `paid` what `paidOf` says of each id, in the order in which they were passed.
    struct Snapshot {
        Head head;
        bytes32 root;
        Turn turn;
        Limits limits;
        Stops stops;
        Request request;
        uint64 paidOut;
        uint64 feesPaid;
        uint64 spent;
        uint56 window;
        uint256 funds;
        address token;
        address owner;
        address previous;
        uint32 period;
        uint32 delay;
        uint256[] paid;
    }

    /// Why an item got nothing, or a whole call paid nothing.
    enum Skip {
        AlreadyPaid,
        BadRecipient,
        OverTotal,
        OverCap,
        NoFunds,
        TokenRefused
    }

    /// A batch under way. `left` is the least of total, cap and funds that are left, and `short` says which of them; as a
    /// payment lowers all three alike, the same one stays the least.
    struct Run {
        uint256 funds;
        uint256 left;
        uint256 sent;
        uint256 count;
        Skip short;
        Skip last;
    }

    bytes32 private constant ROOT = keccak256("PayoutVault root");
    bytes32 private constant SIGNERS = keccak256("PayoutVault signers");
    bytes32 private constant LIMITS = keccak256("PayoutVault limits");
    /// Half the order of secp256k1: of the two s that sign alike only the lower is taken.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    uint256 private constant MAX_SIGNERS = 16;
    uint64 private constant SIGNER_PAUSE = 72 hours;
    /// A withdrawal that was not carried out in this time after its notice must be announced again.
    uint64 private constant WITHDRAWAL_WINDOW = 7 days;
    uint64 private constant NEVER = type(uint64).max;
    uint256 private constant ENTERED = 1 << 255;

    // Fixed by the constructor.
    IToken public token;
    uint32 public period;
    uint32 public delay;
    address public owner;
    PayoutVault public previous;

    bytes32 public root;
    Head public head;
    Turn public turn;
    /// Sums, in one word because every write to storage costs 5,000 energy: see `flow`. The highest bit says that a batch
    /// is under way.
    uint256 private packed;
    Limits public limits;
    Stops public stops;
    Request public request;
    /// What this vault knows that an account has had in all; see `paidOf`.
    mapping(bytes32 id => uint256) private paid;
    /// Era * 256 + index of a signer; of the signers in force the era is the head's.
    mapping(address signer => uint256) public seats;

    // Of pauses, closing and withdrawals the events say from or until when; 2^64 - 1 is for ever.
    event RootPosted(uint64 indexed settlement, bytes32 root, uint64 total, uint64 fees, address leader, uint64 until);
    event Paid(bytes32 indexed id, address indexed to, uint256 amount, uint256 owed);
    event Skipped(bytes32 indexed id, Skip reason);
    event FeePaid(address indexed to, uint256 amount);
    event SignersChanged(uint32 indexed era, uint256 threshold, address[] signers);
    event LimitsChanged(uint64 cap, uint64 pushFee);
    event OwnerPaused(uint64 from);
    event SignerPaused(address indexed signer, uint64 until);
    event UnpauseWanted(address indexed signer);
    event Unpaused();
    event ClosedFrom(uint64 from);
    event CloseCancelled();
    event WithdrawalAsked(address indexed to, uint256 amount, uint64 from);
    event WithdrawalCancelled();
    event Withdrawn(address indexed to, uint256 amount);

    error NotOwner();
    error NotSigner();
    error Entered();
    error IsPaused();
    error NotPaused();
    error PauseUsed();
    error IsClosed();
    error Stale(uint64 newest);
    error BadRoot();
    error BadProof();
    error BadSignatures();
    error BadArguments();
    error NothingPaid(Skip reason);
    error OutOfEnergy();
    error WrongBalance();
    error NotAsked();
    error OutsideWindow(uint64 from, uint64 until);
    error WithdrawalRefused();

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    /// Nothing that changes state runs inside a batch: a token that calls back finds every door shut.
    modifier notEntered() {
        if (packed >= ENTERED) revert Entered();
        _;
    }

    /// @param previous_ The vault that this one replaces, or 0. It must be closed: then it pays nothing any more, and what
    /// it paid counts as paid here.
    /// @param delay_ Notice of the owner's acts. Two settlements and a day, so that what is owed can be posted and pushed
    /// before the owner takes funds away; this contract cannot know how long a settlement is, `lucid vault verify` does.
    constructor(
        IToken token_,
        address owner_,
        address[] memory signers,
        uint8 threshold,
        Limits memory limits_,
        uint32 period_,
        uint32 delay_,
        PayoutVault previous_
    ) {
        if (address(token_).code.length == 0 || owner_ == address(0) || period_ == 0 || delay_ == 0) {
            revert BadArguments();
        }
        (token, period, delay, owner, previous) = (token_, period_, delay_, owner_, previous_);
        if (address(previous_) != address(0)) {
            if (!previous_.closed() || previous_.token() != token_) revert BadArguments();
            (uint256 paidOut, uint256 feesPaid,,) = previous_.flow();
            packed = paidOut | (feesPaid << 64);
        }
        _setSigners(signers, threshold);
        _setLimits(limits_);
    }

    // ---- roots -----------------------------------------------------------------------------------------------------

    /// @notice Posts a root that k signers signed. Anybody may.
    /// @param total All that this vault and its predecessors may ever have paid out under this root, fees included.
    /// @param fees The part of it that may ever have been paid as push fees.
    /// @param newTurn The leader, which alone earns push fees until the turn ends.
    /// @dev A newer settlement's root replaces the one before, whatever its total: after a theft an honest root must be
    /// able to replace a thief's at once. The newest settlement's root may be posted again, with the same turn, and with a
    /// total and fees that are the same or higher: that is how a pool raises its total after a theft. Lower ones are
    /// refused, or an old signature would undo the higher. Posting moves no money, so a pause does not stop it.
    function postRoot(
        uint64 settlement,
        bytes32 newRoot,
        uint64 total,
        uint64 fees,
        Turn calldata newTurn,
        bytes calldata sigs
    ) external notEntered {
        Head memory h = head;
        if (closed()) revert IsClosed();
        if (newRoot == 0) revert BadRoot();
        if (settlement <= h.settlement) {
            Turn memory t = turn;
            bool again = settlement == h.settlement && newRoot == root && total >= h.total && fees >= h.fees
                && newTurn.leader == t.leader && newTurn.until == t.until;
            if (!again) revert Stale(h.settlement);
        }
        _check(rootDigest(settlement, newRoot, total, fees, newTurn), sigs);
        (h.settlement, h.total, h.fees) = (settlement, total, fees);
        root = newRoot;
        head = h;
        turn = newTurn;
        emit RootPosted(settlement, newRoot, total, fees, newTurn.leader, newTurn.until);
    }

    /// @notice What signers sign for `postRoot`.
    function rootDigest(uint64 settlement, bytes32 newRoot, uint64 total, uint64 fees, Turn calldata newTurn)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                ROOT,
                block.chainid,
                address(this),
                head.era,
                settlement,
                newRoot,
                total,
                fees,
                newTurn.leader,
                newTurn.until
            )
        );
    }

    /// Exactly k signatures r || s || v of 65 bytes, by ascending signer, s in the lower half, v 27 or 28: there is one
    /// encoding for one set of signers, and nobody counts twice. On TRON a recovered address has the prefix 0x41 above its
    /// 20 bytes; the conversion takes it off.
    function _check(bytes32 digest, bytes calldata sigs) private view {
        (uint256 k, uint256 era, address last) = (head.threshold, head.era, address(0));
        if (sigs.length != 65 * k) revert BadSignatures();
        for (uint256 at = 0; at < sigs.length; at += 65) {
            bytes32 s = bytes32(sigs[at + 32:]);
            address signer = ecrecover(digest, uint8(sigs[at + 64]), bytes32(sigs[at:]), s);
            if (uint256(s) > HALF_ORDER || signer <= last || seats[signer] >> 8 != era) revert BadSignatures();
            last = signer;
        }
    }

    // ---- payments --------------------------------------------------------------------------------------------------

    /// @notice Pays a range of neighbouring leaves of the newest root, each what it still lacks.
    /// @param settlement The newest root's, so that a batch built for another fails early.
    /// @param start Index of the first item in the tree.
    /// @param proof Hashes left and right of the range, from the bottom up, left before right.
    function payRange(uint64 settlement, uint256 start, Item[] calldata items, bytes32[] calldata proof)
        external
        notEntered
    {
        Run memory run = _open(settlement, items);
        if (_rangeRoot(start, items, proof) != root) revert BadProof();
        for (uint256 i = 0; i < items.length; ++i) _settle(run, items[i]);
        _finish(run);
    }

    /// @notice Pays leaves of the newest root that each come with a proof of their own: a worker's claim.
    function pay(uint64 settlement, Item[] calldata items, bytes32[][] calldata proofs) external notEntered {
        if (items.length != proofs.length) revert BadArguments();
        Run memory run = _open(settlement, items);
        for (uint256 i = 0; i < items.length; ++i) {
            bytes32 h = _leaf(items[i]);
            for (uint256 j = 0; j < proofs[i].length; ++j) h = _node(h, proofs[i][j]);
            if (h != root) revert BadProof();
            _settle(run, items[i]);
        }
        _finish(run);
    }

    /// @notice What an account has had in all, from this vault and those before it.
    function paidOf(bytes32 id) public view returns (uint256 had) {
        had = paid[id];
        if (had == 0 && address(previous) != address(0)) had = previous.paidOf(id);
    }

    /// @notice What has left the vault and its predecessors: to accounts, and as push fees; what of both left this vault
    /// in the period numbered `window` (time / period), the last in which anything did.
    function flow() public view returns (uint64 paidOut, uint64 feesPaid, uint64 spent, uint56 window) {
        uint256 f = packed;
        return (uint64(f), uint64(f >> 64), uint64(f >> 128), uint56(f >> 192));
    }

    /// @notice One call for nodes: everything that changes, what the constructor fixed, and what each of these accounts has
    /// had in all, as of one block.
    function snapshot(bytes32[] calldata ids) external view returns (Snapshot memory s) {
        (s.head, s.root, s.turn, s.limits, s.stops, s.request) = (head, root, turn, limits, stops, request);
        (s.paidOut, s.feesPaid, s.spent, s.window) = flow();
        s.funds = token.balanceOf(address(this));
        (s.token, s.owner, s.previous, s.period, s.delay) = (address(token), owner, address(previous), period, delay);
        s.paid = new uint256[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) s.paid[i] = paidOf(ids[i]);
    }

    function _open(uint64 settlement, Item[] calldata items) private returns (Run memory run) {
        if (closed()) revert IsClosed();
        if (paused()) revert IsPaused();
        Head memory h = head;
        if (settlement != h.settlement || root == 0) revert Stale(h.settlement);
        // Who lost the race to push a batch should pay for as little as possible.
        uint256 i = 0;
        while (i < items.length && items[i].owed <= paidOf(items[i].id)) ++i;
        if (i == items.length) revert NothingPaid(Skip.AlreadyPaid);

        uint256 f = packed;
        packed = f | ENTERED;
        run.funds = token.balanceOf(address(this));
        (run.left, run.short) = (_minus(h.total, uint256(uint64(f)) + uint64(f >> 64)), Skip.OverTotal);
        uint256 bound = _minus(limits.cap, _spent(f));
        if (bound < run.left) (run.left, run.short) = (bound, Skip.OverCap);
        if (run.funds < run.left) (run.left, run.short) = (run.funds, Skip.NoFunds);
    }

    /// Pays `min(owed - paid, left)`. An item that cannot be paid is skipped, and holds up no other.
    function _settle(Run memory run, Item calldata item) private {
        (bytes32 id, address to, uint256 owed) = (item.id, item.to, item.owed);
        uint256 had = paidOf(id);
        if (owed <= had) return;
        // The vault would pay itself, and nobody can take anything out of the token's contract.
        if (to == address(0) || to == address(this) || to == address(token)) return _skip(run, id, Skip.BadRecipient);
        if (run.left == 0) return _skip(run, id, run.short);
        uint256 amount = owed - had;
        if (amount > run.left) amount = run.left;
        paid[id] = had + amount;
        if (!_send(to, amount)) {
            paid[id] = had;
            return _skip(run, id, Skip.TokenRefused);
        }
        run.left -= amount;
        run.sent += amount;
        ++run.count;
        emit Paid(id, to, amount, owed);
    }

    function _skip(Run memory run, bytes32 id, Skip reason) private {
        run.last = reason;
        emit Skipped(id, reason);
    }

    /// Pays the push fee, compares the balance with what was sent, and writes the sums. Who spends the energy gets the
    /// fee, in the leader's turn only the leader. Accounts come first: fees are taken of what they leave, for as many of
    /// the items as there is room for, and the payments stand without them. An item paid in part has taken all that was
    /// left, so a batch with one earns nothing.
    function _finish(Run memory run) private {
        if (run.sent == 0) revert NothingPaid(run.last);
        (uint256 f, uint256 fee, uint256 each, Turn memory t) = (packed, 0, limits.pushFee, turn);
        (uint256 paidOut, uint256 feesPaid) = (uint64(f), uint64(f >> 64));
        if (each != 0 && (msg.sender == t.leader || block.timestamp >= t.until)) {
            uint256 n = _min(run.left, _minus(head.fees, feesPaid)) / each;
            fee = each * _min(n, run.count);
            if (fee != 0 && !_send(msg.sender, fee)) fee = 0;
            if (fee != 0) emit FeePaid(msg.sender, fee);
        }
        if (token.balanceOf(address(this)) + run.sent + fee != run.funds) revert WrongBalance();
        // Each sum is within the root's total or the cap, so none of them outgrows its 64 bits.
        uint256 spent = _spent(f) + run.sent + fee;
        packed = (paidOut + run.sent) | (feesPaid + fee) << 64 | spent << 128 | (block.timestamp / period) << 192;
    }

    function _spent(uint256 f) private view returns (uint256) {
        return uint56(f >> 192) == block.timestamp / period ? uint64(f >> 128) : 0;
    }

    /// Whether the token took the transfer: it did unless it reverted. A call gets 63/64 of the energy that is left, so
    /// somebody could choose a limit with which the token runs out of energy and the rest of the batch does not; that must
    /// not look like a refusal by the token.
    function _send(address to, uint256 amount) private returns (bool ok) {
        uint256 energy = gasleft();
        (ok,) = address(token).call(abi.encodeCall(IToken.transfer, (to, amount)));
        if (!ok && gasleft() <= energy / 64) revert OutOfEnergy();
    }

    function _minus(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a - b : 0;
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    // ---- the tree --------------------------------------------------------------------------------------------------

    /// keccak256(keccak256(abi.encode(id, to, owed))). Hashed twice, so that what is hashed last has another length than in
    /// a node, and no two hashes can pass for an item. An item lies in the call data as it is encoded.
    function _leaf(Item calldata item) private pure returns (bytes32 h) {
        assembly ("memory-safe") {
            let free := mload(64)
            calldatacopy(free, item, 96)
            mstore(0, keccak256(free, 96))
            h := keccak256(0, 32)
        }
    }

    function _node(bytes32 a, bytes32 b) private pure returns (bytes32 h) {
        if (b < a) (a, b) = (b, a);
        assembly ("memory-safe") {
            mstore(0, a)
            mstore(32, b)
            h := keccak256(0, 64)
        }
    }

    /// Folds the range level by level into one hash. Every item goes into it, so it is the root only if each is a leaf.
    function _rangeRoot(uint256 start, Item[] calldata items, bytes32[] calldata proof) private pure returns (bytes32) {
        (uint256 n, uint256 used) = (items.length, 0);
        bytes32[] memory h = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) h[i] = _leaf(items[i]);
        while (n > 1 || used < proof.length) {
            (uint256 i, uint256 j) = (0, 0);
            if (start & 1 == 1) {
                if (used == proof.length) revert BadProof();
                h[0] = _node(proof[used++], h[0]);
                i = j = 1;
            }
            for (; i + 1 < n; i += 2) h[j++] = _node(h[i], h[i + 1]);
            if (i < n) {
                if (used == proof.length) revert BadProof();
                h[j++] = _node(h[i], proof[used++]);
            }
            (start, n) = (start >> 1, j);
        }
        return h[0];
    }

    // ---- signers and limits: owner and k signers together -----------------------------------------------------------

    /// @notice New signers. The root is void, and settlement numbers start anew: that ends whatever thieves have posted.
    function setSigners(address[] calldata next, uint8 threshold, bytes calldata sigs) external onlyOwner notEntered {
        _check(signersDigest(next, threshold), sigs);
        (root, head.settlement, head.total, head.fees) = (0, 0, 0, 0);
        ++head.nonce;
        // The bitmaps are of signers that are no more; a pause that is in force stays.
        (stops.used, stops.pausing, stops.lifting) = (0, 0, 0);
        _setSigners(next, threshold);
    }

    /// @notice What the signers in force sign for `setSigners`.
    function signersDigest(address[] calldata next, uint8 threshold) public view returns (bytes32) {
        bytes32 list = keccak256(abi.encodePacked(next));
        return keccak256(abi.encode(SIGNERS, block.chainid, address(this), head.era, head.nonce, threshold, list));
    }

    /// @notice New limits.
    function setLimits(Limits calldata next, bytes calldata sigs) external onlyOwner notEntered {
        _check(limitsDigest(next), sigs);
        ++head.nonce;
        _setLimits(next);
    }

    /// @notice What the signers in force sign for `setLimits`.
    function limitsDigest(Limits calldata next) public view returns (bytes32) {
        return keccak256(
            abi.encode(LIMITS, block.chainid, address(this), head.era, head.nonce, next.cap, next.pushFee)
        );
    }

    /// More than half, so that two disjoint sets of signers never sign two different roots.
    function _setSigners(address[] memory next, uint8 threshold) private {
        uint256 n = next.length;
        if (n > MAX_SIGNERS || threshold > n || 2 * uint256(threshold) <= n) revert BadArguments();
        uint32 era = ++head.era;
        for (uint256 i = 0; i < n; ++i) {
            if (next[i] == address(0) || seats[next[i]] >> 8 == era) revert BadArguments();
            seats[next[i]] = (uint256(era) << 8) | i;
        }
        head.threshold = threshold;
        emit SignersChanged(era, threshold, next);
    }

    function _setLimits(Limits memory next) private {
        limits = next;
        emit LimitsChanged(next.cap, next.pushFee);
    }

    // ---- stops: the owner with notice, a signer at once and for a while ---------------------------------------------

    /// @notice Whether payments are stopped for now.
    function paused() public view returns (bool) {
        Stops memory s = stops;
        return block.timestamp < s.signerPauseUntil
            || (s.ownerPauseFrom != 0 && block.timestamp >= s.ownerPauseFrom);
    }

    /// @notice Whether payments are stopped for good.
    function closed() public view returns (bool) {
        uint64 from = stops.closeFrom;
        return from != 0 && block.timestamp >= from;
    }

    /// @notice The owner's pause takes effect after `delay`. A signer's takes effect at once and lapses after 72 hours,
    /// unless k signers call this while it lasts; each signer can begin one in an era.
    /// @dev Ends a notice of withdrawal or closing that is running: such a notice counts only if claims were open all the
    /// time. Otherwise an owner and one signer could let it run out behind a pause.
    function pause() external notEntered {
        if (closed()) revert IsClosed();
        Stops memory s = stops;
        if (msg.sender == owner) {
            if (s.ownerPauseFrom != 0) revert IsPaused();
            s.ownerPauseFrom = uint64(block.timestamp) + delay;
            s.lifting = 0;
            emit OwnerPaused(s.ownerPauseFrom);
        } else {
            uint16 bit = _bit(msg.sender);
            if (block.timestamp >= s.signerPauseUntil) {
                if (s.used & bit != 0) revert PauseUsed();
                (s.used, s.pausing, s.lifting) = (s.used | bit, 0, 0);
                s.signerPauseUntil = uint64(block.timestamp) + SIGNER_PAUSE;
            } else if (s.pausing & bit != 0) {
                revert PauseUsed();
            }
            s.pausing |= bit;
            if (_hasThreshold(s.pausing)) s.signerPauseUntil = NEVER;
            emit SignerPaused(msg.sender, s.signerPauseUntil);
        }
        if (s.closeFrom != 0) emit CloseCancelled();
        s.closeFrom = 0;
        stops = s;
        if (request.from != 0) _cancel();
    }

    /// @notice Ends all pauses, also one that is only announced: by the owner, or when k signers have called it.
    function unpause() external notEntered {
        Stops memory s = stops;
        if (s.ownerPauseFrom == 0 && block.timestamp >= s.signerPauseUntil) revert NotPaused();
        if (msg.sender != owner) {
            s.lifting |= _bit(msg.sender);
            stops.lifting = s.lifting;
            emit UnpauseWanted(msg.sender);
            if (!_hasThreshold(s.lifting)) return;
        }
        (s.ownerPauseFrom, s.signerPauseUntil, s.pausing, s.lifting) = (0, 0, 0, 0);
        stops = s;
        emit Unpaused();
    }

    /// @notice Closes the vault for good, after `delay` in which claims stay open. Then a successor may be deployed.
    function close() external onlyOwner notEntered {
        if (stops.closeFrom != 0) revert IsClosed();
        _requireNoPause();
        stops.closeFrom = uint64(block.timestamp) + delay;
        emit ClosedFrom(stops.closeFrom);
    }

    /// @notice Announces a withdrawal, which can be carried out after `delay` and for 7 days. It replaces an earlier one.
    function askWithdrawal(address to, uint64 amount) external onlyOwner notEntered {
        if (!closed()) _requireNoPause();
        request = Request(to, amount, uint64(block.timestamp) + delay);
        emit WithdrawalAsked(to, amount, request.from);
    }

    /// @notice Takes the announcement of a withdrawal back.
    function cancel() external onlyOwner notEntered {
        if (request.from == 0) revert NotAsked();
        _cancel();
    }

    /// @notice Carries out the withdrawal that was announced.
    function withdraw() external onlyOwner notEntered {
        Request memory r = request;
        if (r.from == 0) revert NotAsked();
        uint64 until = r.from + WITHDRAWAL_WINDOW;
        if (block.timestamp < r.from || block.timestamp >= until) revert OutsideWindow(r.from, until);
        delete request;
        uint256 funds = token.balanceOf(address(this));
        if (!_send(r.to, r.amount) || token.balanceOf(address(this)) + r.amount != funds) revert WithdrawalRefused();
        emit Withdrawn(r.to, r.amount);
    }

    function _cancel() private {
        delete request;
        emit WithdrawalCancelled();
    }

    function _requireNoPause() private view {
        if (stops.ownerPauseFrom != 0 || paused()) revert IsPaused();
    }

    function _bit(address signer) private view returns (uint16) {
        uint256 seat = seats[signer];
        if (seat >> 8 != head.era) revert NotSigner();
        return uint16(1 << (seat & 255));
    }

    function _hasThreshold(uint256 bits) private view returns (bool) {
        uint256 n = 0;
        for (; bits != 0; bits &= bits - 1) ++n;
        return n >= head.threshold;
    }
}
