"""The rules of docs/src/specification.md on pools: commands, settlements, leaders and payout roots."""
from hashes import derive, payout_root
from layouts import Record, blank, require

PPM = 10**6
MAX_PROMISED = 1 << 62
NO = Record(variant="No")


class Pools:
    def __init__(self, chain):
        self.chain, genesis = chain, chain.genesis
        self.declared = {derive("lucid pool id 1", chain.network, it.name.encode()): it for it in genesis.pool}
        self.of = {member: pool for pool, it in self.declared.items() for member in it.members}
        first = lambda it: blank("PoolState", vault=Record(it.vault), push_fee=it.vault.limits.push_fee)
        self.states = {pool: first(it) for pool, it in sorted(self.declared.items())}
        self.accounts, self.shares, self.last_led = ({pool: {} for pool in self.states} for _ in range(3))

    def rows(self):
        """Rows of the state: table, key, type and value."""
        for pool, state in self.states.items():
            yield 2, pool, "PoolState", state
            for account, it in self.accounts[pool].items():
                yield 3, pool + account, "Account", it
            for node in self.shares[pool] | self.last_led[pool]:
                member = Record(share=self.shares[pool].get(node), last_led=self.last_led[pool].get(node))
                yield 4, pool + node, "Member", member

    def account_id(self, pool, kind, node):
        return derive("lucid account 1", self.chain.network, pool, bytes([("worker", "commission").index(kind)]), node)

    def account(self, pool, kind, node):
        """One that is new if nothing was owed or held before."""
        address = self.chain.registered[node].payout_address if kind == "worker" else self.declared[pool].commission_address
        new = blank("Account", kind=Record(variant=kind), node=node, to=address, hold=NO)
        return self.accounts[pool].setdefault(self.account_id(pool, kind, node), new)

    # Commands

    def apply(self, command, signers):
        chain, pool, change = self.chain, command.pool, command.change
        declared, state, kind = self.declared[pool], self.states[pool], change.variant
        treasury = {it.node for it in state.vault.signers.signer}
        require(declared.owner in signers and signers <= treasury | {declared.owner}, "a command's authority")
        needed = 0 if kind in ("hold", "resume", "suspend") else state.vault.signers.threshold
        require(len(signers & treasury) >= needed, "a command's signers")
        require(command.number == state.commands + 1 and command.until >= chain.time, "a command's number or time")
        notice = max(state.settled + 2, -(-(chain.closed + 1) // chain.policy.settle_every) + 1)
        if kind == "hold":
            require(change["0"] in declared.members, "a member")
            account = self.account(pool, "worker", change["0"])
            require(account.hold == NO, "a member that is not held")
            account.hold = Record({"variant": "Since", "0": notice})
        elif kind == "resume":
            account = self.accounts[pool][self.account_id(pool, "worker", change["0"])]
            require(account.hold.variant == "Since", "a member that is held")
            account.hold = Record(variant="Ends")
        elif kind == "suspend":
            require((state.suspended_from is not None) != change["0"], "a change")
            state.suspended_from = notice if change["0"] else None
        elif kind == "correct":
            pending = sum(it.correction for it in self.accounts[pool].values())
            require(0 < change.amount <= MAX_PROMISED - state.budgets - pending, "an amount")
            self.accounts[pool][change.account].correction += change.amount
        elif kind == "losses":
            require(0 < change["0"] <= MAX_PROMISED - state.losses, "an amount")
            state.losses += change["0"]
            if state.newest:
                more = {field: state.newest[field] + change["0"] for field in ("total", "promised")}
                state.newest = Record(state.newest, **more)
        elif kind == "signers":
            require(change.next.era == state.vault.signers.era + 1, "an era")
            self.change_vault(state, change)
            state.vault.signers = change.next
            if state.newest:
                state.newest = Record(state.newest, era=change.next.era)
        else:
            require(change.era == state.vault.signers.era and change.next.push_fee < change.next.cap, "limits")
            self.change_vault(state, change)
            state.vault.limits = change.next
            state.next_push_fee = (notice, change.next.push_fee)
        state.commands += 1

    def change_vault(self, state, change):
        require(change.nonce == state.vault.nonce, "a nonce")
        state.vault.nonce += 1
        terms = Record({"variant": change.variant, "0": change.next})
        state.changes[change.nonce] = Record(by=state.vault.signers, next=terms)
        state.changes = dict(sorted(state.changes.items())[-4:])

    # Settlements

    def add_shares(self, rows):
        for row in rows:
            pool = self.of[row.worker]
            split, shares = self.declared[pool].split.variant, self.shares[pool]
            share = shares.get(row.worker, 0) + row.credits * (row.score if split == "credits-times-score" else 1)
            shares[row.worker] = min(share, 1) if split == "equal" else share

    def settle(self, beacon):
        chain = self.chain
        last = (min(chain.pending, default=chain.closed + 1) - 1) // chain.policy.settle_every
        last = last if chain.policy.last_settlement is None else min(last, chain.policy.last_settlement)
        for pool, state in self.states.items():
            if state.settled >= last:
                continue
            is_measured = bool(self.shares[pool])
            state.settled += 1
            self.reward(pool, state)
            if is_measured:
                self.elect(pool, state, beacon)
            self.make_root(pool, state)
            rest = min((last - state.settled) * self.declared[pool].budget, MAX_PROMISED - state.budgets)
            state.update(budgets=state.budgets + rest, carried=state.carried + rest, settled=last)

    def reward(self, pool, state):
        settlement, accounts = state.settled, self.accounts[pool]
        before = {id: it.owed for id, it in accounts.items()}
        if state.next_push_fee and state.next_push_fee[0] <= settlement:
            state.push_fee, state.next_push_fee = state.next_push_fee[1], None
        for it in accounts.values():
            state.budgets, it.owed, it.correction = state.budgets + it.correction, it.owed + it.correction, 0
            if it.hold.variant == "Ends" or it.hold.variant == "Since" and settlement >= it.hold["0"] + 7:
                it.owed, it.held, it.hold = it.owed + it.held, 0, NO
        budget = min(self.declared[pool].budget, MAX_PROMISED - state.budgets)
        state.budgets, pot = state.budgets + budget, state.carried + budget
        shares, self.shares[pool], state.carried = self.shares[pool], {}, pot
        if not any(shares.values()):
            return
        is_held = lambda hold: hold.variant == "Since" and hold["0"] <= settlement
        after = {id: it.owed for id, it in accounts.items()}
        for (kind, node), part in self.parts(pool, shares, pot).items():
            id = self.account_id(pool, kind, node)
            if id not in accounts or not is_held(accounts[id].hold):
                after[id] = after.get(id, 0) + part
        due = sum(self.is_due(owed, before.get(id, 0)) for id, owed in after.items())
        fee = min(pot, due * state.push_fee)
        state.fees, pot = state.fees + fee, pot - fee
        state.carried = pot
        for (kind, node), part in self.parts(pool, shares, pot).items():
            account = self.account(pool, kind, node)
            account["held" if is_held(account.hold) else "owed"] += part
            state.carried -= part

    def parts(self, pool, shares, pot):
        """Who gets what of a pot."""
        commission = pot * min(self.declared[pool].commission, PPM) // PPM
        rest, shift = pot - commission, 0
        while rest * sum(share >> shift for share in shares.values()) >= 1 << 128:
            shift += 1
        weights = {node: share >> shift for node, share in shares.items()}
        total = sum(weights.values())
        found = {("worker", node): rest * weight // total for node, weight in weights.items()}
        by_remainder = sorted(weights, key=lambda node: (-(rest * weights[node] % total), node))
        for node in by_remainder[:rest - sum(found.values())]:
            found["worker", node] += 1
        found["commission", self.declared[pool].owner] = commission
        return {who: part for who, part in found.items() if part}

    def is_due(self, after, before):
        threshold = self.chain.policy.payout_threshold or 1
        return after // threshold > before // threshold

    def elect(self, pool, state, beacon):
        chain, settlement, led = self.chain, state.settled, self.last_led[pool]
        candidates = [node for node in self.declared[pool].members if chain.registered[node].gas_address]
        is_cooling = lambda node: node in led and settlement - led[node] <= chain.policy.leader_cooldown
        all_cool = all(map(is_cooling, candidates))

        def order(node):
            stats = chain.workers[node]
            sums = chain.sums(stats, chain.scored)
            is_eligible = sums.credits > 0 and sums.uptime >= chain.policy.min_uptime
            live = sums.credits * sums.reachable_ms // sums.denominator
            longest_ago = led[node] if all_cool else 0
            return not is_eligible, is_cooling(node), longest_ago, -live, derive("lucid leader tie 1", beacon, node)

        leaders = sorted(candidates, key=order)[:chain.policy.leader_successors + 1]
        if leaders:
            led[leaders[0]] = settlement
        state.election = Record(settlement=settlement, height=chain.height, time=chain.time, order=leaders)

    def make_root(self, pool, state):
        chain, settlement, accounts = self.chain, state.settled, self.accounts[pool]
        owed = sum(it.owed for it in accounts.values())
        is_suspended = state.suspended_from is not None and state.suspended_from <= settlement
        if is_suspended or owed == state.rooted:
            return
        by_id = sorted(accounts.items())
        first = [entry for entry in by_id if self.is_due(entry[1].owed, entry[1].requested)]
        rest = [entry for entry in by_id if entry[1].owed and entry not in first]
        root = payout_root([(id, it.to, it.owed) for id, it in first + rest])
        for _, it in first:
            it.requested = it.owed
        elected = state.election and state.election.settlement == settlement and state.election.order
        leader = chain.registered[elected[0]].gas_address if elected else None
        until = -(-(chain.time + chain.policy.leader_timeout_ms) // 1_000) if leader else 0
        state.newest = Record(
            pool=pool, settlement=settlement, vault=state.vault.address, era=state.vault.signers.era, root=root,
            total=owed + state.fees + state.losses, fees=state.fees, promised=state.budgets + state.losses,
            leader=leader, until=until)
        state.rooted = owed
