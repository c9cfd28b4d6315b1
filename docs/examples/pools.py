"""The rules of docs/src/specification.md on pools: settlements, leaders and payout roots. Commands stand in commands.py."""
from hashes import derive, payout_root
from layouts import Record, blank

PPM = 10**6
MAX_PROMISED = 1 << 62
NO = Record(variant="No")


def counts(membership, epoch):
    """Whether somebody may be drawn in an epoch."""
    return membership is not None and membership["from"] <= epoch and not has_ended(membership, epoch)


def has_ended(membership, epoch):
    return membership.until is not None and membership.until <= epoch


def terms_in(state, settlement):
    """The terms of a settlement that is not computed yet."""
    return state.next_terms[1] if state.next_terms and state.next_terms[0] <= settlement else state.terms


def split(pot, weights):
    """Floors by weight; what is left goes to the largest remainders, ties to the smaller id."""
    shift = 0
    while pot * sum(weight >> shift for weight in weights.values()) >= 1 << 128:
        shift += 1
    weights = {node: weight >> shift for node, weight in weights.items()}
    total = sum(weights.values())
    if not total:
        return {}
    found = {node: pot * weight // total for node, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda node: (-(pot * weights[node] % total), node))
    for node in by_remainder[:pot - sum(found.values())]:
        found[node] += 1
    return found


def member():
    return blank("Member", standing=Record(variant="good"))


class Pools:
    def __init__(self, chain):
        self.chain = chain
        self.states, self.accounts, self.members, self.requests, self.invites, self.validations = ({} for _ in range(6))

    def add(self, pool, state):
        self.states = dict(sorted({**self.states, pool: state}.items()))
        self.accounts[pool], self.members[pool] = {}, {}

    def remove(self, pool):
        del self.states[pool], self.accounts[pool], self.members[pool]

    def rows(self):
        """Rows of the state: table, key, type and value."""
        for pool, state in self.states.items():
            yield 2, pool, "PoolState", state
            for account, it in self.accounts[pool].items():
                yield 3, pool + account, "Account", it
            for node, it in self.members[pool].items():
                yield 4, pool + node, "Member", it
            for node, it in self.requests.get(pool, {}).items():
                yield 14, pool + node, "Request", it
            for key, it in self.invites.get(pool, {}).items():
                yield 15, pool + key, "InviteUse", it
        for pool, by_validator in self.validations.items():
            sessions = [Record(validator=node, sessions=n) for node, n in sorted(by_validator.items())]
            yield 23, pool, "PoolValidations", Record(by_validator=sessions)

    def account_id(self, pool, kind, node):
        return derive("lucid account 1", self.chain.network, pool, bytes([("worker", "commission", "validator").index(kind)]), node)

    def account(self, pool, kind, node, settlement):
        """One that is new if nothing was owed or held before."""
        new = blank("Account", kind=Record(variant=kind), node=node, to=self.address(pool, kind, node, settlement), hold=NO)
        return self.accounts[pool].setdefault(self.account_id(pool, kind, node), new)

    def address(self, pool, kind, node, settlement):
        """Where the root of a settlement pays an account, as its node or the pool's terms say; none if nobody says any more."""
        if kind != "commission":
            row = self.chain.nodes.get(node)
            return row and (row.next_payout[1] if row.next_payout and row.next_payout[0] <= settlement else row.payout_address)
        state = self.states[pool]
        return terms_in(state, settlement).commission_address if node == state.owner else None

    def counts(self, pool, epoch):
        """Whether its members may be drawn."""
        status = self.states[pool].status
        return status.variant != "forming" and status["from"] <= epoch and (status.variant == "active" or epoch < status.until)

    def budget(self, state, settlement):
        """What a pool puts up for a settlement: nothing before its first epoch, nor after its last."""
        every, status = self.chain.fixed.settle_every, state.status
        of = lambda epoch: -(-epoch // every)
        shares = status.variant != "forming" and of(status["from"]) <= settlement
        if status.variant == "disbanded":
            shares = shares and status["from"] < status.until and settlement <= of(status.until - 1)
        return terms_in(state, settlement).budget if shares else 0

    # Settlements

    def add_shares(self, epoch, rows, pools):
        """To the pools for which the epoch's draw has scored the workers."""
        settlement = -(-epoch // self.chain.fixed.settle_every)
        for row in rows:
            pool = pools[row.worker]
            split = terms_in(self.states[pool], settlement).split.variant
            it = self.members[pool].setdefault(row.worker, member())
            share = (it.share or 0) + row.credits * (row.score if split == "credits-times-score" else 1)
            it.share = min(share, 1) if split == "equal" else share
            it.unreached = 0 if row.reachable_ms else it.unreached + 1

    def validate(self, pool, validator):
        """A validator measured one of its workers."""
        sessions = self.validations.setdefault(pool, {})
        if validator in sessions or len(sessions) < 4_096:
            sessions[validator] = sessions.get(validator, 0) + 1

    def newest_settlement(self):
        """All of whose epochs are final."""
        chain = self.chain
        last = chain.final_through() // chain.fixed.settle_every
        return last if chain.fixed.last_settlement is None else min(last, chain.fixed.last_settlement)

    def policy(self, settlement):
        """That of the settlement's last epoch."""
        return self.chain.policy(settlement * self.chain.fixed.settle_every)

    def settle(self, beacon):
        last, open_epoch = self.newest_settlement(), self.chain.closed + 1
        for pool, state in self.states.items():
            if state.settled >= last:
                continue
            members, is_measured = self.members[pool], any(it.share is not None for it in self.members[pool].values())
            state.settled += 1
            if state.next_terms and state.next_terms[0] <= state.settled:
                state.terms, state.next_terms = state.next_terms[1], None
            self.reward(pool, state)
            if is_measured:
                self.elect(pool, state, beacon)
            self.make_root(pool, state)
            self.let_go(pool, state.settled, state, open_epoch)
            for node in [node for node, it in members.items() if it == member() and not self.is_member(pool, node, open_epoch)]:
                del members[node]
            promised = sum(self.budget(state, settlement) for settlement in range(state.settled + 1, last + 1))
            rest = min(promised, MAX_PROMISED - state.budgets)
            state.update(budgets=state.budgets + rest, carried=state.carried + rest, settled=last)

    def let_go(self, pool, settlement, state, open_epoch):
        """Members that are unreachable for long become inactive, and inactive ones are forgotten after four times as long."""
        chain = self.chain
        after, until = self.policy(settlement).inactive_after, (chain.time - chain.genesis.genesis_time) // chain.fixed.epoch_ms + 3
        for node, it in self.members[pool].items():
            membership = self.chain.nodes[node].membership if node in self.chain.nodes else None
            is_member = self.is_member(pool, node, open_epoch)
            if it.unreached >= after and is_member and membership.until is None:
                it.standing, it.unreached, membership.until = Record({"variant": "inactive", "0": until}), 0, until
                state.members -= 1
            if it.standing.variant == "inactive" and open_epoch >= it.standing["0"] + 4 * after:
                it.standing = Record(variant="good")
            if not is_member:
                it.unreached = 0

    def is_member(self, pool, node, epoch):
        """In the epoch or from a later one on."""
        membership = self.chain.nodes[node].membership if node in self.chain.nodes else None
        return membership is not None and membership.pool == pool and not has_ended(membership, epoch)

    def reward(self, pool, state):
        settlement, accounts = state.settled, self.accounts[pool]
        if state.next_push_fee and state.next_push_fee[0] <= settlement:
            state.push_fee, state.next_push_fee = state.next_push_fee[1], None
        for it in accounts.values():
            it.to = self.address(pool, it.kind.variant, it.node, settlement) or it.to
            state.budgets, it.owed, it.correction = state.budgets + it.correction, it.owed + it.correction, 0
            if it.hold.variant == "Ends" or it.hold.variant == "Since" and settlement >= it.hold["0"] + 7:
                it.owed, it.held, it.hold = it.owed + it.held, 0, NO
        budget = min(self.budget(state, settlement), MAX_PROMISED - state.budgets)
        state.budgets, pot = state.budgets + budget, state.carried + budget
        shares = {node: it.share for node, it in self.members[pool].items() if it.share is not None}
        for it in self.members[pool].values():
            it.share = None
        sessions = self.validations.pop(pool, {})
        weights = {node: 5 * n for node, n in sessions.items() if n and not self.loses_pay(node, settlement)}
        is_held = lambda hold: hold.variant == "Since" and hold["0"] <= settlement
        after = {id: it.owed for id, it in accounts.items()}
        for (kind, node), part in self.parts(pool, shares, weights, pot).items():
            id = self.account_id(pool, kind, node)
            if id not in accounts or not is_held(accounts[id].hold):
                after[id] = after.get(id, 0) + part
        requested = lambda id: accounts[id].requested if id in accounts else 0
        set_aside = min(pot, self.n_requests(state, [(owed, requested(id)) for id, owed in after.items()]) * state.push_fee)
        state.carried = pot
        for (kind, node), part in self.parts(pool, shares, weights, pot - set_aside).items():
            account = self.account(pool, kind, node, settlement)
            account["held" if is_held(account.hold) else "owed"] += part
            state.carried -= part
        fee = min(set_aside, self.n_requests(state, [(it.owed, it.requested) for it in accounts.values()]) * state.push_fee)
        state.fees, state.carried = state.fees + fee, state.carried - fee

    def loses_pay(self, validator, settlement):
        duty = self.chain.duties.get(validator)
        if duty is None or duty.settlement != settlement:
            return False
        return (duty.forfeited + duty.missed_turns) * PPM > (duty.committed + duty.turns) * self.policy(settlement).max_forfeits

    def parts(self, pool, shares, validators, pot):
        """Who gets what of a pot, by the members' shares and the validators' weights."""
        if not any(shares.values()):
            return {}
        state = self.states[pool]
        commission = pot * min(state.terms.commission, PPM) // PPM
        of_validators = min(pot * self.policy(state.settled).validation_ppm // PPM, pot - commission) if validators else 0
        found = {("commission", state.owner): commission}
        found |= {("validator", node): part for node, part in split(of_validators, validators).items()}
        found |= {("worker", node): part for node, part in split(pot - commission - of_validators, shares).items()}
        can_be_paid = lambda who: self.account_id(pool, *who) in self.accounts[pool] or self.address(pool, *who, state.settled) is not None
        return {who: part for who, part in found.items() if part and can_be_paid(who)}

    def n_requests(self, state, totals):
        """How many requests the settlement makes of owed and requested totals."""
        is_suspended = state.suspended_from is not None and state.suspended_from <= state.settled
        threshold = self.policy(state.settled).payout_threshold
        return 0 if is_suspended else sum(self.is_due(owed, requested, threshold) for owed, requested in totals)

    def is_due(self, after, before, threshold):
        threshold = threshold or 1
        return after // threshold > before // threshold

    def elect(self, pool, state, beacon):
        chain, settlement, members = self.chain, state.settled, self.members[pool]
        policy = self.policy(settlement)
        counts_now = lambda it: counts(it.membership, chain.closed + 1) and it.membership.pool == pool
        can_lead = lambda node: node in chain.workers and node in chain.nodes and chain.nodes[node].gas_address
        candidates = [node for node in members if can_lead(node) and counts_now(chain.nodes[node])]
        led = {node: it.last_led for node, it in members.items() if it.last_led is not None}
        is_cooling = lambda node: node in led and settlement - led[node] <= policy.leader_cooldown
        all_cool = all(map(is_cooling, candidates))

        def order(node):
            stats = chain.workers[node]
            sums = chain.sums(policy, stats, chain.scored)
            is_eligible = sums.credits > 0 and sums.uptime >= policy.min_uptime
            live = sums.credits * sums.reachable_ms // sums.denominator
            longest_ago = led[node] if all_cool else 0
            why = Record(node=node, live=live, is_eligible=is_eligible, is_cooling=is_cooling(node), last_led=led.get(node))
            return (not is_eligible, is_cooling(node), longest_ago, -live, derive("lucid leader tie 1", beacon, node)), why

        ranked = sorted(map(order, candidates), key=lambda it: it[0])
        leaders = [why for _, why in ranked[:policy.leader_successors + 1]]
        if leaders:
            members[leaders[0].node].last_led = settlement
        state.election = Record(settlement=settlement, height=chain.height, time=chain.time, order=leaders)

    def make_root(self, pool, state):
        chain, settlement, accounts = self.chain, state.settled, self.accounts[pool]
        policy = self.policy(settlement)
        owed = sum(it.owed for it in accounts.values())
        is_suspended = state.suspended_from is not None and state.suspended_from <= settlement
        if is_suspended or owed == state.rooted and not self.n_requests(state, [(it.owed, it.requested) for it in accounts.values()]):
            return
        by_id = sorted(accounts.items())
        first = [entry for entry in by_id if self.is_due(entry[1].owed, entry[1].requested, policy.payout_threshold)]
        rest = [entry for entry in by_id if entry[1].owed and entry not in first]
        root = payout_root([(id, it.to, it.owed) for id, it in first + rest])
        for _, it in first:
            it.requested = it.owed
        elected = state.election and state.election.settlement == settlement and state.election.order
        leader = chain.nodes[elected[0].node].gas_address if elected else None
        until = -(-(chain.time + policy.leader_timeout_ms) // 1_000) if leader else 0
        state.newest = Record(
            pool=pool, settlement=settlement, vault=state.vault.address, era=state.vault.signers.era, root=root,
            total=owed + state.fees + state.losses, fees=state.fees, promised=state.budgets + state.losses,
            leader=leader, until=until)
        state.rooted = owed
