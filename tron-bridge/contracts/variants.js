// Broken variants of PayoutVault.sol: each leaves one rule out. The tests must catch every one of them, and each still pays
// in the plain case (testnet/tests/it/vault/variants.rs). `caughtBy` names the test that does; `edits` are [old, new] text
// that the source has once. The first is no variant: it passes every test.
module.exports = [
  {
    name: "the vault itself",
    caughtBy: "",
    edits: [],
  },
  {
    name: "forgets what it paid",
    caughtBy: "plain::pays_the_difference_once",
    edits: [["        paid[id] = had + amount;\n", ""]],
  },
  {
    name: "counts as paid what the token refused",
    caughtBy: "tokens::a_refused_recipient_is_skipped",
    edits: [["            paid[id] = had;\n", ""]],
  },
  {
    name: "lets a token call back",
    caughtBy: "tokens::nothing_is_open_to_a_token_that_calls_back",
    edits: [["        if (packed >= ENTERED) revert Entered();\n", ""]],
  },
  {
    name: "does not compare balances",
    caughtBy: "tokens::a_token_that_lies_stops_the_batch",
    edits: [["if (token.balanceOf(address(this)) + run.sent + fee != run.funds) revert WrongBalance();", ""]],
  },
  {
    name: "takes lack of energy for a refusal",
    caughtBy: "tokens::lack_of_energy_is_no_refusal",
    edits: [["        if (!ok && gasleft() <= energy / 64) revert OutOfEnergy();\n", ""]],
  },
  {
    name: "ignores the signed total",
    caughtBy: "payments::the_total_bounds_payments",
    edits: [["_minus(h.total, uint256(uint64(f)) + uint64(f >> 64))", "type(uint64).max"]],
  },
  {
    name: "does not count fees in the total",
    caughtBy: "fees::count_in_total_cap_and_funds",
    edits: [["_minus(h.total, uint256(uint64(f)) + uint64(f >> 64))", "_minus(h.total, uint64(f))"]],
  },
  {
    name: "ignores the cap",
    caughtBy: "payments::the_cap_bounds_a_period",
    edits: [["        if (bound < run.left) (run.left, run.short) = (bound, Skip.OverCap);\n", ""]],
  },
  {
    name: "forgets what it spent in the period",
    caughtBy: "payments::the_cap_bounds_a_period",
    edits: [["uint56(f >> 192) == block.timestamp / period ? uint64(f >> 128) : 0", "0 & f"]],
  },
  {
    name: "pays itself and the token's contract",
    caughtBy: "payments::recipients_that_cannot_use_it_are_skipped",
    edits: [["if (to == address(0) || to == address(this) || to == address(token)) return", "if (to == address(0)) return"]],
  },
  {
    name: "pays any range",
    caughtBy: "payments::a_range_needs_its_proof",
    edits: [["        if (_rangeRoot(start, items, proof) != root) revert BadProof();\n", ""]],
  },
  {
    name: "pays any claim",
    caughtBy: "payments::a_claim_needs_its_proof",
    edits: [["            if (h != root) revert BadProof();\n", ""]],
  },
  {
    name: "goes back to an older root",
    caughtBy: "roots::a_newer_root_replaces_the_older",
    edits: [["if (settlement <= h.settlement) {", "if (settlement == h.settlement) {"]],
  },
  {
    name: "takes another root for the same settlement",
    caughtBy: "roots::the_same_root_may_be_posted_again",
    edits: [["settlement == h.settlement && newRoot == root && total", "settlement == h.settlement && total"]],
  },
  {
    name: "lets an old signature lower the total",
    caughtBy: "roots::the_same_root_may_be_posted_again",
    edits: [["newRoot == root && total >= h.total && fees", "newRoot == root && fees"]],
  },
  {
    name: "lets a second post change the turn",
    caughtBy: "roots::the_same_root_may_be_posted_again",
    edits: [["newTurn.leader == t.leader && newTurn.until == t.until", "(newTurn.leader == t.leader || newTurn.until == t.until)"]],
  },
  {
    name: "counts a signer twice",
    caughtBy: "signatures::exactly_k_in_order",
    edits: [["signer <= last || ", "signer < last || "]],
  },
  {
    name: "takes signers of an earlier era",
    caughtBy: "signatures::of_an_earlier_era_are_void",
    edits: [["signer <= last || seats[signer] >> 8 != era", "signer <= last || (seats[signer] == 0 && era != 0)"]],
  },
  {
    name: "takes both forms of a signature",
    caughtBy: "signatures::have_one_form",
    edits: [["uint256(s) > HALF_ORDER || ", ""]],
  },
  {
    name: "signs roots for any era",
    caughtBy: "signatures::of_an_earlier_era_are_void",
    edits: [["                address(this),\n                head.era,\n", "                address(this),\n                uint256(0),\n"]],
  },
  {
    name: "signs roots for any vault",
    caughtBy: "signatures::are_good_for_one_vault",
    edits: [["                block.chainid,\n                address(this),\n                head.era,", "                block.chainid,\n                address(0),\n                head.era,"]],
  },
  {
    name: "signs roots for any chain",
    caughtBy: "signatures::digests_are_the_specified_ones",
    edits: [["                block.chainid,\n                address(this),\n                head.era,", "                uint256(0),\n                address(this),\n                head.era,"]],
  },
  {
    name: "lets old limits be set again",
    caughtBy: "rotation::limits_are_set_once",
    edits: [["        _check(limitsDigest(next), sigs);\n        ++head.nonce;\n", "        _check(limitsDigest(next), sigs);\n"]],
  },
  {
    name: "lets the owner set limits alone",
    caughtBy: "rotation::limits_are_set_once",
    edits: [["        _check(limitsDigest(next), sigs);\n        ++head.nonce;\n", "        ++head.nonce;\n"]],
  },
  {
    name: "lets the owner change signers alone",
    caughtBy: "rotation::begins_a_new_era",
    edits: [["        _check(signersDigest(next, threshold), sigs);\n", ""]],
  },
  {
    name: "lets k signers change signers without the owner",
    caughtBy: "stops::only_the_owner",
    edits: [["function setSigners(address[] calldata next, uint8 threshold, bytes calldata sigs) external onlyOwner", "function setSigners(address[] calldata next, uint8 threshold, bytes calldata sigs) external"]],
  },
  {
    name: "keeps the root when signers change",
    caughtBy: "rotation::begins_a_new_era",
    edits: [["(root, head.settlement, head.total, head.fees) = (0, 0, 0, 0);", "head.settlement = 0;"]],
  },
  {
    name: "does without a majority",
    caughtBy: "rotation::needs_a_majority_of_distinct_signers",
    edits: [["threshold > n || 2 * uint256(threshold) <= n", "threshold > n || threshold == 0"]],
  },
  {
    name: "pays the fee to anybody at any time",
    caughtBy: "fees::only_the_leader_earns_them_in_its_turn",
    edits: [["each != 0 && (msg.sender == t.leader || block.timestamp >= t.until)", "each != 0 && t.until >= 0"]],
  },
  {
    name: "pays fees beyond the allowance",
    caughtBy: "fees::end_with_the_allowance",
    edits: [["_min(run.left, _minus(head.fees, feesPaid)) / each", "run.left / each"]],
  },
  {
    name: "lets the owner pause at once",
    caughtBy: "stops::the_owner_pauses_after_notice",
    edits: [["s.ownerPauseFrom = uint64(block.timestamp) + delay;", "s.ownerPauseFrom = uint64(block.timestamp);"]],
  },
  {
    name: "lets the owner close at once",
    caughtBy: "stops::closing_leaves_time_to_claim",
    edits: [["stops.closeFrom = uint64(block.timestamp) + delay;", "stops.closeFrom = uint64(block.timestamp);"]],
  },
  {
    name: "lets the owner withdraw at once",
    caughtBy: "stops::a_withdrawal_leaves_time_to_claim",
    edits: [["request = Request(to, amount, uint64(block.timestamp) + delay);", "request = Request(to, amount, uint64(block.timestamp));"]],
  },
  {
    name: "lets a withdrawal's notice run behind a pause",
    caughtBy: "stops::no_notice_runs_behind_a_pause",
    edits: [["        if (request.from != 0) _cancel();\n", ""]],
  },
  {
    name: "lets a closing's notice run behind a pause",
    caughtBy: "stops::no_notice_runs_behind_a_pause",
    edits: [["        s.closeFrom = 0;\n", ""]],
  },
  {
    name: "lets a signer pause again and again",
    caughtBy: "stops::a_signer_pauses_once_for_72_hours",
    edits: [["                if (s.used & bit != 0) revert PauseUsed();\n", ""]],
  },
  {
    name: "lets one signer pause for good",
    caughtBy: "stops::a_signer_pauses_once_for_72_hours",
    edits: [["if (_hasThreshold(s.pausing)) s.signerPauseUntil = NEVER;", "s.signerPauseUntil = NEVER;"]],
  },
  {
    name: "lets one signer end a pause",
    caughtBy: "stops::k_signers_or_the_owner_end_a_pause",
    edits: [["            if (!_hasThreshold(s.lifting)) return;\n", ""]],
  },
  {
    name: "keeps the wishes of signers for the next pause",
    caughtBy: "stops::k_signers_or_the_owner_end_a_pause",
    edits: [["(s.used, s.pausing, s.lifting) = (s.used | bit, 0, 0);", "(s.used, s.pausing) = (s.used | bit, 0);"]],
  },
  {
    name: "pays on after closing",
    caughtBy: "stops::closing_leaves_time_to_claim",
    edits: [["        if (closed()) revert IsClosed();\n        if (paused()) revert IsPaused();\n", "        if (paused()) revert IsPaused();\n"]],
  },
  {
    name: "forgets what its predecessor paid",
    caughtBy: "succession::goes_on_where_the_predecessor_ended",
    edits: [["if (had == 0 && address(previous) != address(0)) had = previous.paidOf(id);", ""]],
  },
  {
    name: "forgets its predecessor's sums",
    caughtBy: "succession::goes_on_where_the_predecessor_ended",
    edits: [["            packed = paidOut | (feesPaid << 64);\n", "            paidOut | feesPaid;\n"]],
  },
  {
    name: "takes a snapshot without its predecessor",
    caughtBy: "snapshot::knows_what_predecessors_paid",
    edits: [["s.paid[i] = paidOf(ids[i]);", "s.paid[i] = paid[ids[i]];"]],
  },
  {
    name: "succeeds a vault that still pays",
    caughtBy: "succession::needs_a_closed_predecessor_of_the_same_token",
    edits: [["if (!previous_.closed() || previous_.token() != token_) revert BadArguments();", "if (previous_.token() != token_) revert BadArguments();"]],
  },
];
