"""The rules of docs/src/specification.md on commands: who may give them, in which order, and what they change."""
from hashes import check_possession, derive, u64
from layouts import Record, blank, encode, require
from pools import MAX_PROMISED, NO, member, terms_in

DAY = 86_400_000
BURST, STAMP_CLOSES, KEPT_CLOSES = 8, 8, 9
MAX_REQUESTS, MAX_INVITES, MAX_FORMING, MAX_POOLS, MAX_MEMBERS, MAX_NAME_BYTES, MAX_PROPOSED = 256, 1_024, 64, 1_000, 4_000, 64, 4
PAYOUTS = "hold", "resume", "suspend", "correct", "losses", "signers", "limits"
NEED_SIGNERS = "correct", "losses", "signers", "limits"
VETOES = "veto-payout-address", "veto-key"
PROTECTION, OPERATION, MEMBER, REGISTRATION = range(4)


def is_rotation(change):
    """Of a validator's own keys, which needs no approval."""
    return change.variant == "validators" and change["0"].variant == "keys"


def invite_of(action):
    """The invite that a node enters with."""
    entry = action["0"].entry if action.variant == "register" else action["0"] if action.variant == "node" else None
    ticket = entry.get("ticket") if entry else None
    return ticket["0"] if ticket and ticket.variant == "invite" else None


def priority(action):
    kind, inner = action.variant, action.get("action") or action["0"]
    if kind in ("register", "create-pool"):
        return REGISTRATION
    if kind == "node":
        return PROTECTION if inner.variant in (*VETOES, "leave") else MEMBER
    is_protection = kind == "pool" and (inner.variant in ("hold", "ban") or inner.variant == "suspend" and inner["0"])
    return PROTECTION if is_protection else OPERATION


def difficulty(base, joins, free):
    bits, limit = base, free
    while bits < 40 and joins > limit:
        bits, limit = bits + 1, max(1, 2 * limit)
    return min(bits, 40)


class Commands:
    def __init__(self, chain):
        self.chain = chain
        self.nonces, self.closes = {}, {0: Record(beacon=chain.beacon, joins=0)}
        # Whose keys are that are no account's first one.
        self.keys = {}

    @property
    def pools(self):
        return self.chain.pools

    @property
    def nodes(self):
        return self.chain.nodes

    def rows(self):
        """Rows of the state: table, key, type and value."""
        for account, it in self.nonces.items():
            yield 12, account, "Nonce", it
        for epoch, it in self.closes.items():
            yield 13, epoch.to_bytes(8, "big"), "Close", it
        for key, account in self.keys.items():
            yield 19, key, "NodeId", account

    def check_order(self, commands):
        """`commands` of a block on the state before it."""
        require(sum(len(encode("MultiSigned<Command>", it)) for it in commands) <= 256 << 10, "the length of commands")
        runs = []
        for it in (it.record for it in commands):
            if not runs or runs[-1][0] != it.account:
                lot = derive("lucid command order 1", self.chain.beacon, it.account)
                runs.append((it.account, (priority(it.action), lot), []))
            runs[-1][2].append(it.nonce)
        places = [place for _, place, _ in runs]
        require(places == sorted(set(places)) and len({account for account, _, _ in runs}) == len(runs), "the order of accounts")
        require(all(nonces == sorted(set(nonces)) for _, _, nonces in runs), "the order of an account's commands")

    def closed(self, epoch, beacon):
        """A block has closed epochs up to this one."""
        self.closes[epoch] = Record(beacon=beacon, joins=0)
        for old in sorted(self.closes)[:-KEPT_CLOSES]:
            del self.closes[old]
        for pool, state in list(self.pools.states.items()):
            if state.status.variant == "forming" and state.status.until < self.chain.time:
                self.remove_pool(pool)

    # What holds of every command

    def apply(self, command, signers):
        chain = self.chain
        self.account, action, time = command.account, command.action, chain.time
        self.epoch = (time - chain.genesis.genesis_time) // chain.fixed.epoch_ms + 1
        require(time <= command.until <= time + DAY, "a command's time")
        self.check_authority(command, signers)
        known = self.nonces.get(self.account)
        nonce = known or Record(next=0, allowance=BURST, filled=chain.closed)
        allowance = min(BURST, nonce.allowance + chain.closed - nonce.filled)
        # What takes back an announcement counts for nothing.
        cost = 0 if action.variant == "node" and action["0"].variant in VETOES else 1
        require(command.nonce == nonce.next and allowance >= cost, "a command's number")
        require(self.account not in self.nodes or not self.nodes[self.account].is_retired, "an account that has retired")
        {"register": self.register, "node": self.node, "create-pool": self.create_pool, "pool": self.pool,
         "validator": self.validator}[action.variant](action if action.variant == "pool" else action["0"])
        if known or action.variant != "register" or self.account in self.nodes:
            self.nonces[self.account] = Record(next=nonce.next + 1, allowance=allowance - cost, filled=chain.closed)

    def check_authority(self, command, signers):
        action, must, may = command.action, {self.key_of(command.account)}, set()
        if action.variant == "register":
            must.add(self.key_of(action["0"].operator))
        if invite_of(action):
            must.add(invite_of(action).record.key)
        if action.variant == "node" and action["0"].variant == "payout-address" and command.account in self.nodes:
            must |= {self.nodes[command.account].payout_key} - {None}
        if action.variant == "node" and action["0"].variant == "rotate-key":
            must.add(action["0"]["0"])
        if action.variant == "pool" and action.action.variant == "transfer":
            must.add(self.key_of(action.action["0"]))
        if action.variant == "pool" and action.action.variant in NEED_SIGNERS:
            of_vault = self.pools.states[action.pool].vault.signers
            may = {self.key_of(it.node) for it in of_vault.signer if self.can_be(it.node)}
            require(len(signers & may) >= of_vault.threshold, "a command's treasury signers")
        require(must <= signers <= must | may, "a command's signers")

    def can_be(self, account):
        """Whether the account is one, or can become one: its first key is or was no other's."""
        return account in self.nodes or account not in self.keys

    def key_of(self, account):
        """The key that signs for an account."""
        require(self.can_be(account), "an account of another account's key")
        if account not in self.nodes:
            return account
        node = self.nodes[account]
        return node.next_key[1] if node.next_key and node.next_key[0] <= self.chain.final_through() else node.key

    def check_key(self, key):
        """A key that is new to the chain: no account's, and no announced one."""
        states = self.pools.states.values()
        is_in = lambda it: it.owner == key or any(signer.node == key for signer in it.vault.signers.signer)
        known = key in self.nodes or key in self.nonces or key in self.chain.powers(self.chain.height + 2)
        require(not known and key not in self.keys and not any(map(is_in, states)), "a key of nobody")

    def notice(self, newest):
        """The second settlement after the newest, and after the one under way."""
        return max(newest + 2, -(-self.epoch // self.chain.fixed.settle_every) + 1)

    def check_address(self, address):
        vaults = {it.vault.address for it in self.pools.states.values()}
        require(address[1:] != bytes(20) and address != self.chain.genesis.tron.usdt and address not in vaults, "an address")

    def check_offer(self, it):
        capacity = it.capacity
        require(max(capacity.memory_bytes, capacity.disk_bytes) <= 1 << 46 and capacity.bandwidth_kbit_s <= 1 << 31, "a capacity")
        if it.gas_address:
            self.check_address(it.gas_address)

    # Accounts

    def register(self, new):
        require(self.account not in self.nodes, "an account that is registered")
        self.check_address(new.payout_address)
        self.check_offer(new)
        fields = "operator", "payout_address", "payout_key", "gas_address", "capacity"
        node = blank("Node", key=self.key_of(self.account), is_retired=False, group=bytes(6), **{field: new[field] for field in fields})
        if new.entry.variant == "network":
            self.check_stamp(None, new.entry["0"])
            self.closes[max(self.closes)].joins += 1
            self.nodes[self.account] = node
        else:
            self.enter_pool(node, new.entry.pool, new.entry.ticket)

    def node(self, action):
        kind, node = action.variant, self.nodes[self.account]
        settled = self.pools.newest_settlement()
        if kind == "update":
            self.check_offer(action)
            node.gas_address, node.capacity = action.gas_address, action.capacity
        elif kind == "payout-address":
            self.check_address(action["0"])
            if node.next_payout and node.next_payout[0] <= settled + 1:
                node.payout_address = node.next_payout[1]
            node.next_payout = self.notice(settled), action["0"]
        elif kind == "veto-payout-address":
            require(node.next_payout and node.next_payout[0] > settled, "an announced address")
            node.next_payout = None
        elif kind == "rotate-key":
            key, done, every = action["0"], self.chain.final_through(), self.chain.fixed.settle_every
            node.key, announced = self.key_of(self.account), node.next_key
            announced = announced[1] if announced and announced[0] > done else None
            if announced != key:
                self.check_key(key)
            self.keys.pop(announced, None)
            self.keys[key], node.next_key = self.account, (self.notice(done // every) * every, key)
        elif kind == "veto-key":
            require(node.next_key and node.next_key[0] > self.chain.final_through(), "an announced key")
            del self.keys[node.next_key[1]]
            node.next_key = None
        elif kind == "join":
            self.enter_pool(node, action.pool, action.ticket)
        elif kind == "leave":
            if self.pool_of(node):
                self.leave(node)
            elif not self.give_up_return(node):
                pool, node.request = node.request, None
                request = self.pools.requests.get(pool, {}).pop(self.account, None)
                require(request and request.until >= self.chain.time, "a membership or a request")
        elif kind == "maintenance":
            earliest = self.epoch + 2
            require(action.epochs <= 5_040 and action["from"] <= self.epoch + 5_040, "a maintenance")
            begin = max(action["from"], earliest)
            require(action.epochs or any(it.until > begin for it in node.maintenance), "a maintenance to end")
            kept = [it for it in node.maintenance if it["from"] < earliest and it.until > self.epoch]
            node.maintenance = [Record(it, until=min(it.until, begin)) for it in kept]
            if action.epochs:
                node.maintenance.append(Record({"from": begin, "until": begin + action.epochs, "scope": action.scope}))
        elif kind == "retire":
            owned = [it for it in self.pools.states.values() if it.owner == self.account and it.status.variant != "disbanded"]
            require(not owned, "a pool that would have no owner")
            require(self.account not in self.chain.powers(self.chain.height + 2), "a validator that could not resign")
            if self.pool_of(node):
                self.leave(node)
            self.give_up_return(node)
            if node.request:
                self.pools.requests[node.request].pop(self.account, None)
            node.request, node.is_retired = None, True

    def pool_of(self, node):
        """The pool that it is a member of and has not left."""
        return node.membership.pool if node.membership and node.membership.until is None else None

    def leave(self, node):
        state = self.pools.states[node.membership.pool]
        node.membership.until = self.epoch + 2
        state.members, state.commands = state.members - 1, state.commands + 1

    def give_up_return(self, node, account=None):
        """Of who is inactive in the pool that it was in last; whether it was."""
        pool, account = node.membership and node.membership.pool, account or self.account
        row = self.pools.members.get(pool, {}).get(account)
        is_inactive = row is not None and node.membership.until is not None and row.standing.variant == "inactive"
        if is_inactive:
            row.standing = Record(variant="good")
        return is_inactive

    # Entering

    def required_bits(self, pool, epoch):
        """By the entries between this close and the one before."""
        closes, policy = sorted(self.closes), self.chain.in_force()
        require(epoch in closes[-STAMP_CLOSES:], "a stamp's epoch")
        before = [it for it in closes if it < epoch][-1:]
        joins = dict(self.pools.states[pool].joins) if pool else {it: self.closes[it].joins for it in before}
        return difficulty(policy.stamp_bits, sum(joins.get(it, 0) for it in before), policy.free_joins)

    def check_stamp(self, pool, stamp):
        bits = self.required_bits(pool, stamp.epoch)
        parts = self.chain.network, self.account, pool or bytes(32), self.closes[stamp.epoch].beacon, u64(stamp.epoch), u64(stamp.nonce)
        require(int.from_bytes(derive("lucid stamp 1", *parts), "big") >> (256 - bits) == 0, "a stamp's work")

    def count_join(self, state):
        newest, oldest = max(self.closes), min(self.closes)
        joins = dict(state.joins).get(newest, 0) + 1
        state.joins = [(epoch, n) for epoch, n in state.joins if oldest <= epoch != newest] + [(newest, joins)]

    def open_pool(self, pool):
        state = self.pools.states[pool]
        require(state.status.variant != "disbanded", "a disbanded pool")
        require(state.status.variant != "forming" or state.status.until >= self.chain.time, "a pool that forms for too long")
        return state

    def check_member(self, pool, account, node):
        row = self.pools.members[pool].get(account)
        require(row is None or row.standing.variant != "banned", "a ban")
        require(not node.membership or node.membership.until is not None and node.membership.until <= self.epoch, "a membership")

    def enter_pool(self, node, pool, ticket):
        state, time = self.open_pool(pool), self.chain.time
        self.check_member(pool, self.account, node)
        ways = {"return": ["open", "invite", "approval"], "stamp": ["open"], "request": ["approval"], "invite": ["open", "invite", "approval"]}
        require(state.join.variant in ways[ticket.variant], "a way into the pool")
        if ticket.variant == "request":
            self.check_stamp(pool, ticket["0"])
            self.ask(node, pool, state)
            return
        require(state.members < state.max_members, "room in the pool")
        if ticket.variant == "stamp":
            self.check_stamp(pool, ticket["0"])
            self.count_join(state)
        elif ticket.variant == "return":
            row = self.pools.members[pool].get(self.account)
            require(row is not None and row.standing.variant == "inactive", "an inactive member")
        else:
            invite = ticket["0"].record
            invites = self.pools.invites.setdefault(pool, {})
            use = invites.get(invite.key, Record(used=0, until=invite.until))
            require(ticket["0"].signer == self.key_of(state.owner) and invite.pool == pool, "an invite's signer")
            require(invite.until >= time and use.used < invite.uses, "an invite that is over")
            if invite.key not in invites and len(invites) >= MAX_INVITES:
                for key in [key for key, it in invites.items() if it.until < time]:
                    del invites[key]
                require(len(invites) < MAX_INVITES, "invites in use")
            invites[invite.key] = Record(used=use.used + 1, until=max(use.until, invite.until))
        self.let_in(pool, state, self.account, node)

    def ask(self, node, pool, state):
        requests, time = self.pools.requests.setdefault(pool, {}), self.chain.time
        own = [self.pools.requests.get(it, {}).get(self.account) for it in (pool, node.request)]
        require(all(it is None or it.until < time for it in own), "one request")
        if len(requests) >= MAX_REQUESTS:
            for asks in [asks for asks, it in requests.items() if it.until < time]:
                self.remove_request(pool, asks)
            require(len(requests) < MAX_REQUESTS, "requests that wait")
        if node.request:
            self.pools.requests[node.request].pop(self.account, None)
        is_registered = self.account in self.nodes
        node.request = pool if is_registered else None
        requests[self.account] = Record(node=None if is_registered else node, until=time + DAY)
        self.count_join(state)
        state.commands += 1

    def remove_request(self, pool, account):
        self.pools.requests.get(pool, {}).pop(account, None)
        if account in self.nodes and self.nodes[account].request == pool:
            self.nodes[account].request = None

    def let_in(self, pool, state, account, node):
        for before in (pool, node.request):
            self.pools.requests.get(before, {}).pop(account, None)
        if node.membership and node.membership.pool != pool:
            self.give_up_return(node, account)
        node.request, node.membership = None, Record({"pool": pool, "from": self.epoch + 2, "until": None})
        self.nodes[account] = node
        self.pools.members[pool].setdefault(account, member()).update(standing=Record(variant="good"), unreached=0)
        state.members, state.commands = state.members + 1, state.commands + 1
        self.activate(state)

    # Pools

    def create_pool(self, new):
        chain, states = self.chain, self.pools.states
        require(self.account in self.nodes, "a registered owner")
        require(1 <= len(new.name.encode()) <= MAX_NAME_BYTES and 1 <= new.max_members <= MAX_MEMBERS, "a pool's name and members")
        pool = derive("lucid pool id 1", chain.network, new.name.encode())
        of = lambda variant: [it for it in states.values() if it.status.variant == variant]
        require(pool not in states and all(it.vault.address != new.vault.address for it in states.values()), "a name and a vault")
        require(all(it.owner != self.account for it in of("forming")) and len(of("forming")) < MAX_FORMING, "pools that form")
        require(len(states) - len(of("disbanded")) < MAX_POOLS, "pools")
        self.check_vault(new.vault)
        require(new.vault.address not in (chain.genesis.tron.usdt, new.terms.commission_address), "a vault's address")
        self.check_terms(new.terms)
        status = Record(variant="forming", until=chain.time + 7 * DAY, approvals=[])
        fields = {field: new[field] for field in ("name", "terms", "join", "max_members", "vault")}
        state = blank("PoolState", owner=self.account, status=status, push_fee=new.vault.limits.push_fee, commands=1,
                      settled=self.pools.newest_settlement(), **fields)
        self.pools.add(pool, state)

    def check_terms(self, terms):
        require(terms.commission <= 10**6, "a commission")
        self.check_address(terms.commission_address)

    def check_vault(self, vault):
        require(vault.address[1:] != bytes(20) and vault.nonce < 1 << 24, "a vault")
        self.check_signers(vault.signers)
        self.check_limits(vault.limits)

    def check_signers(self, of):
        nodes, keys = {it.node for it in of.signer}, {it.key_address for it in of.signer}
        n = len(of.signer)
        require(1 <= n <= 16 and len(nodes) == n == len(keys) and n < 2 * of.threshold and of.threshold <= n, "a set of signers")
        require(of.era > 0 and all(key[1:] != bytes(20) for key in keys), "a set of signers")

    def check_limits(self, limits):
        require(limits.push_fee < limits.cap, "limits")

    def validator(self, action):
        chain, kind = self.chain, action.variant
        require(self.account in chain.powers(chain.height), "a validator")
        waiting = {id: it for id, it in chain.proposed.items() if it.until >= chain.time}
        if kind == "approve-pool":
            return self.approve_pool(action["0"])
        if kind == "propose":
            return self.propose(action["0"], waiting)
        if kind == "rotate-key":
            return self.rotate_key(action["0"])
        if kind == "resign":
            return chain.change(Record({"variant": "remove", "0": self.account}))
        id, proposed = action["0"], waiting[action["0"]]
        require((self.account in proposed.approvals) == (kind == "withdraw"), "an approval")
        if kind == "approve":
            require(not is_rotation(proposed.change), "a change that needs approval")
            chain.check_change(proposed.change)
            proposed.approvals = sorted([*proposed.approvals, self.account])
            chain.carry_out(id)
        else:
            proposed.approvals = [it for it in proposed.approvals if it != self.account]
            if not proposed.approvals:
                del chain.proposed[id]

    def propose(self, change, waiting):
        chain, id = self.chain, derive("lucid network change 1", encode("NetworkChange", change))
        own = [it for it in waiting.values() if it.by == self.account and not is_rotation(it.change)]
        require(not is_rotation(change) and id not in waiting and len(own) < MAX_PROPOSED, "a proposal")
        chain.check_change(change)
        is_new = change.variant == "validators" and change["0"].variant == "add"
        if is_new:
            self.check_keys(change["0"]["0"].node, change["0"]["0"]["keys"])
        fields = {"from": self.epoch + 2 if is_new else chain.closed + 1, "until": chain.time + 7 * DAY}
        chain.proposed[id] = Record(change=change, by=self.account, approvals=[self.account], **fields)
        chain.carry_out(id)

    def check_keys(self, account, keys):
        check_possession(account, keys)
        for it in (it.change["0"] for it in self.chain.proposed.values() if it.change.variant == "validators"):
            of, other = (it["0"].node, it["0"]["keys"]) if it.variant == "add" else (it["validator"], it["keys"]) if it.variant == "keys" else (account, keys)
            require(of == account or other.id != keys.id and other.bls_key != keys.bls_key, "keys that no other change has")

    def rotate_key(self, keys):
        chain, change = self.chain, Record({"variant": "keys", "validator": self.account, "keys": keys})
        whole = Record({"variant": "validators", "0": change})
        id = derive("lucid network change 1", encode("NetworkChange", whole))
        waiting = [id for id, it in chain.proposed.items() if is_rotation(it.change) and it.by == self.account]
        require(id not in waiting, "other keys than those that wait")
        chain.changed(change)
        self.check_keys(self.account, keys)
        for other in waiting:
            del chain.proposed[other]
        every = chain.fixed.settle_every
        begins = every * -(-(self.epoch + 1) // every) + 1
        start = chain.genesis.genesis_time + (begins - 1) * chain.fixed.epoch_ms
        fields = {"from": begins, "until": max(chain.time + 7 * DAY, start)}
        chain.proposed[id] = Record(change=whole, by=self.account, approvals=[self.account], **fields)

    def approve_pool(self, pool):
        state = self.open_pool(pool)
        require(state.status.variant == "forming" and self.account not in state.status.approvals, "an approval")
        state.status.approvals = sorted([*state.status.approvals, self.account])
        state.commands += 1
        self.activate(state)

    def activate(self, state):
        chain = self.chain
        if state.status.variant == "forming" and state.members >= chain.in_force().min_pool_members:
            powers = chain.powers(chain.height)
            if 3 * sum(powers.get(it, 0) for it in state.status.approvals) > sum(powers.values()):
                state.status = Record({"variant": "active", "from": self.epoch + 2})

    def pool(self, command):
        chain, pool, action = self.chain, command.pool, command.action
        state, kind = self.pools.states[pool], action.variant
        require(state.owner == self.account, "a pool's owner")
        require(state.status.variant != "forming" or kind not in PAYOUTS, "a pool that forms")
        require(state.status.variant != "disbanded" or kind in (*PAYOUTS, "transfer"), "a disbanded pool")
        notice = self.notice(state.settled)
        members, accounts = self.pools.members[pool], self.pools.accounts[pool]
        if kind == "update":
            self.check_terms(action.terms)
            require(1 <= action.max_members <= MAX_MEMBERS, "members")
            announced = state.next_terms
            require(not announced or not state.settled + 1 < announced[0] < notice, "terms that are under way")
            state.terms, state.next_terms = terms_in(state, state.settled + 1), (notice, action.terms)
            state.join, state.max_members = action.join, action.max_members
        elif kind in ("approve", "refuse"):
            asks = action["0"]
            request = self.pools.requests.get(pool, {}).get(asks)
            require(request and request.until >= chain.time, "a request")
            if kind == "approve":
                return self.approve(pool, asks, request)
            self.remove_request(pool, asks)
        elif kind == "ban":
            node, row = self.nodes[action["0"]], members.get(action["0"]) or member()
            require(row.standing.variant == "good", "a ban")
            if self.pool_of(node) == pool:
                self.leave(node)
                state.commands -= 1
            self.remove_request(pool, action["0"])
            members[action["0"]] = Record(row, standing=Record(variant="banned"))
        elif kind == "unban":
            require(members[action["0"]].standing.variant == "banned", "a ban")
            members[action["0"]].standing = Record(variant="good")
            if members[action["0"]] == member() and not self.pools.is_member(pool, action["0"], self.epoch):
                del members[action["0"]]
        elif kind == "hold":
            require(action["0"] in members and action["0"] in self.nodes, "a member")
            account = self.pools.account(pool, "worker", action["0"], state.settled)
            require(account.hold == NO, "a member that is not held")
            account.hold = Record({"variant": "Since", "0": notice})
        elif kind == "resume":
            account = accounts[self.pools.account_id(pool, "worker", action["0"])]
            require(account.hold.variant == "Since", "a member that is held")
            account.hold = Record(variant="Ends")
        elif kind == "suspend":
            require((state.suspended_from is not None) != action["0"], "a change")
            state.suspended_from = notice if action["0"] else None
        elif kind == "correct":
            pending = sum(it.correction for it in accounts.values())
            require(0 < action.amount <= MAX_PROMISED - state.budgets - pending, "an amount")
            accounts[action.account].correction += action.amount
        elif kind == "losses":
            require(0 < action["0"] <= MAX_PROMISED - state.losses, "an amount")
            state.losses += action["0"]
            if state.newest:
                more = {field: state.newest[field] + action["0"] for field in ("total", "promised")}
                state.newest = Record(state.newest, **more)
        elif kind == "signers":
            require(action.next.era == state.vault.signers.era + 1, "an era")
            self.check_signers(action.next)
            self.change_vault(state, action)
            state.vault.signers = action.next
            if state.newest:
                state.newest = Record(state.newest, era=action.next.era)
        elif kind == "limits":
            require(action.era == state.vault.signers.era, "an era")
            self.check_limits(action.next)
            self.change_vault(state, action)
            state.vault.limits, state.next_push_fee = action.next, (notice, action.next.push_fee)
        elif kind == "transfer":
            require(action["0"] in self.nodes and not self.nodes[action["0"]].is_retired, "a registered owner")
            state.owner = action["0"]
        elif state.status.variant == "forming":
            return self.remove_pool(pool)
        else:
            for account, node in ((it, self.nodes[it]) for it in members if it in self.nodes):
                if self.pool_of(node) == pool:
                    self.leave(node)
                    state.commands -= 1
                elif node.membership and node.membership.pool == pool:
                    self.give_up_return(node, account)
            self.remove_entries(pool)
            state.status = Record({"variant": "disbanded", "from": state.status["from"], "until": self.epoch + 2})
        state.commands += 1

    def approve(self, pool, account, request):
        state, is_registered = self.open_pool(pool), account in self.nodes
        node = self.nodes[account] if is_registered else request.node
        if not is_registered:
            self.key_of(account)
            self.check_address(node.payout_address)
            self.check_offer(node)
        require(not node.is_retired and state.members < state.max_members, "room in the pool")
        self.check_member(pool, account, node)
        if not is_registered:
            self.nonces.setdefault(account, Record(next=1, allowance=BURST, filled=self.chain.closed))
        self.let_in(pool, state, account, node)

    def change_vault(self, state, change):
        require(change.nonce == state.vault.nonce and change.nonce + 1 < 1 << 24, "a nonce")
        state.vault.nonce += 1
        terms = Record({"variant": change.variant, "0": change.next})
        state.changes[change.nonce] = Record(by=state.vault.signers, next=terms)
        state.changes = dict(sorted(state.changes.items())[-4:])

    def remove_pool(self, pool):
        for account in self.pools.members[pool]:
            node = self.chain.nodes.get(account)
            if node and node.membership and node.membership.pool == pool:
                node.membership = None
        self.remove_entries(pool)
        self.pools.remove(pool)

    def remove_entries(self, pool):
        for account in list(self.pools.requests.get(pool, {})):
            node = self.chain.nodes.get(account)
            if node and node.request == pool:
                node.request = None
        self.pools.requests.pop(pool, None)
        self.pools.invites.pop(pool, None)
