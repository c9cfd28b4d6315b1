"""The rules of docs/src/specification.md: what a block must be, and what it does to the state. Those of pools stand in pools.py,
those of commands in commands.py."""
import ipaddress
from itertools import accumulate

from commands import Commands, invite_of, is_rotation
from hashes import H, check_bls, check_contradiction, check_possession, check_signature, derive, keyed, number, tree_root, u32, u64
from layouts import Record, Refused, blank, encode, require
from pools import PPM, Pools, counts


def ratio(part, whole):
    return min(part, whole) * PPM // whole if whole else 0


def scale(code):
    exponent, mantissa = code >> 11, code & 2047
    return mantissa if exponent == 0 else (2048 + mantissa) << exponent - 1


def to_scale(value):
    """The greatest code whose value is at most this one."""
    shift = max(0, value.bit_length() - 12)
    return value if value < 2048 else (shift + 1 << 11) + (value >> shift) - 2048


def big(number):
    return number.to_bytes(8, "big")


def turn(ring, window, most, measured, at):
    """What is left of a window's buckets at an epoch, and how many newer ones are in front of them."""
    count = min(window, most)
    turned = at // (window // count) - measured // (window // count)
    return ring[:max(0, count - turned)], min(turned, count)


def chosen(assigned, bitmap):
    """Those of the assigned workers whose bits are set, with their places and the seats."""
    bits = int.from_bytes(bitmap, "little")
    require(len(bitmap) == -(-len(assigned) // 8) and bits >> len(assigned) == 0, "a report's bits")
    return [(i, it, seats) for i, (it, seats) in enumerate(assigned) if bits >> i & 1]


def is_group(group):
    """Nowhere, or an address that is routed globally."""
    if group[:2] != bytes(2):
        return group[0] >> 5 == 1 and group[:4] != bytes.fromhex("20010db8")
    special = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24",
               "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"]
    address = ipaddress.IPv4Address(group[2:])
    return not any(group) or not any(address in ipaddress.ip_network(it) for it in special)


def by_key(validators):
    return sorted(validators, key=lambda it: it["keys"].id)


# No change may touch these.
FIXED = (
    "epoch_ms", "settle_every", "last_settlement", "block_min_ms", "window_block_min_ms", "precision_ms", "message_delay_ms",
    "evidence_blocks", "snapshot_blocks", "keep_blocks_ms", "doppelganger_ms", "report_window", "report_grace_ms", "credits_window",
    "history_window", "seats", "storage_term", "storage_ranges", "storage_range_bytes")


class Chain:
    """The state after the newest block."""

    def __init__(self, genesis):
        self.genesis, self.fixed, self.policies = genesis, genesis.policy, {1: genesis.policy}
        self.network = H(encode("Genesis", genesis))
        self.sets, self.proposed = {0: by_key(genesis.validator)}, {}
        for it in genesis.validator:
            check_possession(it.node, it["keys"])
        self.used = {it["keys"].id: Record(account=it.node, is_given_up=False) for it in genesis.validator}
        beacon = derive("lucid first beacon 1", self.network)
        self.height, self.block, self.time = 0, self.network, genesis.genesis_time
        self.beacon, self.previous_beacon, self.closed, self.scored = beacon, beacon, 0, 0
        self.draws, self.pending, self.commitments, self.reported, self.score_roots, self.equivocations = ({} for _ in range(6))
        self.workers, self.nodes, self.duties = {}, {}, {}
        self.pools, self.commands = Pools(self), Commands(self)
        self.terms = {}
        self.fix_terms(1)
        self.draws[1] = self.draw(1)
        # No part of the state: scores of final epochs, and what the reports of pending ones say.
        self.rows, self.reveals = {}, {}

    def final_through(self):
        """The epoch up to which scores are final, or will never be given."""
        return min(self.pending, default=self.closed + 1) - 1

    # Policies

    def policy(self, epoch):
        """That of an epoch. What `fixed` has is the same in all."""
        return self.policies[max(it for it in self.policies if it <= max(epoch, 1))]

    def in_force(self):
        return self.policy(self.closed + 1)

    def check_policy(self, change):
        newest = self.policies[max(self.policies)]
        require(change.base == derive("lucid policy 1", encode("Policy", newest)), "a change of the newest policy")
        require(change.policy != newest and all(change.policy[key] == newest[key] for key in FIXED), "what can change")
        require(sum(change.policy.weights.values()) == PPM, "weights")

    def counts_from(self):
        """The first epoch for which a change of the policy by this block counts."""
        return (self.time - self.genesis.genesis_time) // self.fixed.epoch_ms + 3

    # Validators

    def at(self, height):
        """The validators of a height."""
        return self.sets[max(it for it in self.sets if it <= height)]

    def powers(self, height):
        """By account."""
        return {it.node: it.power for it in self.at(height)}

    def by_key(self, height):
        return {it["keys"].id: it for it in self.at(height)}

    def is_quorum(self, accounts, height):
        powers = self.powers(height)
        return 3 * sum(powers.get(account, 0) for account in accounts) > 2 * sum(powers.values())

    def changed(self, change):
        """The newest validators after a change."""
        validators, kind = self.at(self.height + 2), change.variant
        node = change["0"].node if kind == "add" else change["0"] if kind == "remove" else change.validator
        old = next((it for it in validators if it.node == node), None)
        require((old is None) == (kind == "add"), "whether it is a validator")
        others = [it for it in validators if it is not old]
        if kind == "add":
            new, row = change["0"], self.nodes[node]
            require(not row.is_retired and row.operator == new.operator and node not in self.equivocations, "a new validator")
            used = self.used.get(new["keys"].id)
            require(not used or used.account == node and not used.is_given_up, "a key that is nobody else's")
            others.append(new)
        elif kind == "keys":
            require(change["keys"].id not in self.used, "a key that nobody has used")
            others.append(Record(old, keys=change["keys"]))
        elif kind == "power":
            require(old.power != change.power, "another power")
            others.append(Record(old, power=change.power))
        require(0 < len(others) <= 1000 and sum(it.power for it in others) <= 1 << 60, "a set of validators")
        require(all(it.power > 0 for it in others), "a power")
        for key in "id", "bls_key":
            require(len({it["keys"][key] for it in others}) == len(others), "keys of their own")
        return by_key(others)

    def change(self, change):
        after, before = self.changed(change), self.at(self.height + 2)
        keys = change["0"]["keys"] if change.variant == "add" else change["keys"] if change.variant == "keys" else None
        if keys:
            account = change["0"].node if change.variant == "add" else change.validator
            for it in before:
                if it.node == account:
                    self.used[it["keys"].id] = Record(account=account, is_given_up=True)
            self.used[keys.id] = Record(account=account, is_given_up=False)
        self.sets[self.height + 2] = after

    def check_change(self, change):
        if change.variant == "policy":
            self.check_policy(change["0"])
        else:
            self.changed(change["0"])

    def carry_out(self, id):
        proposed, is_policy = self.proposed[id], self.proposed[id].change.variant == "policy"
        is_approved = is_rotation(proposed.change) or self.is_quorum(proposed.approvals, self.height)
        must_wait = is_policy and self.counts_from() in self.policies
        if proposed["from"] > self.closed + 1 or not is_approved or must_wait:
            return
        del self.proposed[id]
        try:
            self.check_change(proposed.change)
        except (Refused, KeyError):
            return  # It cannot be any more.
        if is_policy:
            self.policies[self.counts_from()] = proposed.change["0"].policy
            self.proposed = {id: it for id, it in self.proposed.items() if it.change.variant != "policy"}
        else:
            self.change(proposed.change["0"])

    def change_validators(self, closed):
        if self.closed > closed:
            for id, proposed in sorted(self.proposed.items()):
                if id in self.proposed:
                    self.carry_out(id)
                if proposed.until < self.time:
                    self.proposed.pop(id, None)
        epoch, rows = self.closed + 1, self.equivocations
        gone = sum(it.removed[1] for it in rows.values() if it.removed and it.removed[0] == epoch)
        for node in sorted((node for node, it in rows.items() if not it.removed), key=lambda node: (rows[node].proved_in, node)):
            powers = self.powers(self.height + 2)
            power, total = powers.get(node, 0), sum(powers.values()) + gone
            if power and len(powers) > 1 and 3 * (gone + power) <= total:
                self.change(Record({"variant": "remove", "0": node}))
                rows[node], gone = Record(rows[node], removed=(epoch, power)), gone + power
        heights = sorted(self.sets)
        for height, following in zip(heights, heights[1:]):
            if following <= self.height + 1 - self.fixed.evidence_blocks:
                del self.sets[height]

    # What a block holds

    def proposer(self, turn, height):
        left = list(self.at(height))
        power = sum(it.power for it in left)
        for draw in range(turn % len(left) + 1):
            rest = number(derive("lucid proposer draw 1", self.previous_beacon, u64(height), u32(draw))) % power
            drawn = left.pop(next(i for i, end in enumerate(accumulate(it.power for it in left)) if rest < end))
            power -= drawn.power
        return drawn

    def check(self, block, certificate):
        """All but what needs the state after the block."""
        header = block.header
        self.check_certificate(certificate, header)
        kinds = ("Commitment", block.commitments), ("Reveal", block.reveals), ("Command", block.commands), ("Evidence", block.evidence)
        items = [encode("Item", Record({"variant": kind, "0": item})) for kind, some in kinds for item in some]
        named = [Record(id=H(item), bytes=len(item)) for item in items]
        require(header["items"] == derive("lucid block items 1", encode("Vec<ItemRef>", named)), "the items' hash")
        require((header.height, header.parent) == (self.height + 1, self.block), "the block before")
        interval = self.fixed.window_block_min_ms if self.pending else self.fixed.block_min_ms
        require(header.time >= self.time + interval, "the time")
        proposer = self.proposer(header.round, header.height)
        require(header.proposer == proposer["keys"].id, "the proposer")
        check_bls(proposer["keys"].bls_key, b"BLS_SIG", b"\x0elucid/randao/1" + self.network + u64(header.height), header.randao)
        for it in block.commitments:
            check_signature(self.network, "lucid/report-commitment/1", "ReportCommitment", it.signer, it.record, it.signature)
        for it in block.reveals:
            check_signature(self.network, "lucid/report/1", "Reveal", it.signer, it.record, it.signature)
        for it in block.commands:
            signers = [signer for signer, _ in it.signatures]
            require(0 < len(signers) <= 17 and signers == sorted(set(signers)), "a command's signers")
            for signer, signature in it.signatures:
                check_signature(self.network, "lucid/command/1", "Command", signer, it.record, signature)
            invite = invite_of(it.record.action)
            if invite:
                check_signature(self.network, "lucid/invite/1", "Invite", invite.signer, invite.record, invite.signature)
        self.commands.check_order(block.commands)
        accused = set()
        for it in block.evidence:
            check_contradiction(self.network, it)
            account = self.accused(it)
            height = it["0"][0].record.height
            require(0 <= header.height - height <= self.fixed.evidence_blocks, "the height of evidence")
            require(account and account not in accused and account not in self.equivocations, "the signer in evidence")
            accused.add(account)
        for order in (
                [(it.record.epoch, it.signer) for it in block.commitments],
                [(it.record.report.epoch, it.signer) for it in block.reveals],
                [it["0"][0].signer for it in block.evidence]):
            require(order == sorted(set(order)), "the items' order")

    def accused(self, evidence):
        """The account that had the key at the height that evidence is about."""
        signed = evidence["0"][0]
        validator = self.by_key(signed.record.height).get(signed.signer)
        return validator and validator.node

    def check_certificate(self, certificate, header):
        require((certificate.height, certificate.block) == (header.height, H(encode("Header", header))), "the certificate's block")
        signers = [signer for signer, _ in certificate.signatures]
        known = self.by_key(header.height)
        require(signers == sorted(set(signers)) and set(signers) <= set(known), "the certificate's signers")
        require(self.is_quorum([known[signer].node for signer in signers], header.height), "the certificate's power")
        vote = Record(kind=Record(variant="Precommit"), height=header.height, round=certificate.round, block=certificate.block)
        for signer, signature in certificate.signatures:
            check_signature(self.network, "lucid/vote/1", "Vote", signer, vote, signature)

    # What a block does

    def execute(self, block):
        """Carries out a checked block, and compares what it leads to with what it says."""
        header, last_beacon, closed = block.header, self.beacon, self.closed
        duty = self.duty(self.proposer(0, header.height).node, self.settlement(self.final_through() + 1))
        duty.turns, duty.missed_turns = duty.turns + 1, duty.missed_turns + (header.round > 0)
        self.height, self.block, self.time = header.height, H(encode("Header", header)), header.time
        self.previous_beacon, self.beacon = self.beacon, derive("lucid random beacon 2", self.beacon, header.randao)
        for it in block.commitments:
            self.commit(it.signer, it.record)
        for it in block.reveals:
            self.reveal(it.signer, it.record)
        for it in block.evidence:
            height = it["0"][0].record.height
            self.equivocations[self.accused(it)] = Record(height=height, proved_in=self.height, removed=None)
        for it in block.commands:
            self.commands.apply(it.record, {signer for signer, _ in it.signatures})
        for epoch in [epoch for epoch, it in self.pending.items() if self.height == it.closed_in + 2 * self.fixed.report_window]:
            self.finalise(epoch)
        self.close_epochs()
        self.change_validators(closed)
        self.pools.settle(last_beacon)
        require(header.next_set == derive("lucid validator set 1", encode("Vec<Validator>", self.at(self.height + 2))), "the set's hash")
        require(header.state_root == self.root(), "the state root")

    def root(self):
        rows = [(0, b"", "Head", Record(vars(self))), *self.pools.rows(), *self.commands.rows()]
        rows += [(1, node, "WorkerStats", it) for node, it in self.workers.items()]
        rows += [(5, big(epoch), "EpochDraw", it) for epoch, it in self.draws.items()]
        rows += [(6, big(epoch), "PendingEpoch", it) for epoch, it in self.pending.items()]
        rows += [(7, big(epoch) + signer, "Hash", it) for (epoch, signer), it in self.commitments.items()]
        rows += [(8, big(epoch) + signer, "ScoreReport", it) for (epoch, signer), it in self.reported.items()]
        rows += [(9, big(epoch), "Hash", it) for epoch, it in self.score_roots.items()]
        rows += [(10, node, "Equivocation", it) for node, it in self.equivocations.items()]
        rows += [(11, node, "Node", it) for node, it in self.nodes.items()]
        rows += [(16, big(height), "Vec<Validator>", it) for height, it in self.sets.items()]
        rows += [(17, id, "ProposedChange", it) for id, it in self.proposed.items()]
        rows += [(18, key, "UsedKey", it) for key, it in self.used.items()]
        rows += [(20, big(begin), "StorageTerm", it) for begin, it in self.terms.items()]
        rows += [(21, big(epoch), "Policy", it) for epoch, it in self.policies.items()]
        rows += [(22, node, "Duty", it) for node, it in self.duties.items()]
        return tree_root({bytes([table]) + key: encode(kind, it) for table, key, kind, it in rows})

    # Duties

    def duty(self, validator, settlement):
        """What a validator did of its duties in a settlement; the row of an earlier one starts anew."""
        known = self.duties.get(validator)
        if known is None or known.settlement != settlement:
            self.duties[validator] = blank("Duty", settlement=settlement)
        return self.duties[validator]

    def count_reports(self, epoch, draw, rows):
        """Who revealed what it had committed to, and how many workers with rows it measured for each pool."""
        measured = {row.worker for row in rows}
        pools = {it.node: it.pool for it in draw.scored if it.node in measured}
        for _, signer in sorted(key for key in self.commitments if key[0] == epoch):
            validator, report = self.used[signer].account, self.reported.get((epoch, signer))
            duty = self.duty(validator, self.settlement(epoch))
            duty.committed, duty.forfeited = duty.committed + 1, duty.forfeited + (report is None)
            seen = self.read_report(draw, signer, report)[0] if report else ()
            for worker in seen:
                if worker in pools:
                    self.pools.validate(pools[worker], validator)

    # Reports

    def commit(self, signer, commitment):
        pending = self.pending[commitment.epoch]
        require(0 < self.height - pending.closed_in <= self.fixed.report_window, "a commitment outside its window")
        may_commit = signer in self.draws[commitment.epoch].reporters and (commitment.epoch, signer) not in self.commitments
        require(may_commit, "a commitment's signer")
        self.commitments[commitment.epoch, signer] = commitment.report

    def reveal(self, signer, reveal):
        report, window = reveal.report, self.fixed.report_window
        pending, key = self.pending[report.epoch], (report.epoch, signer)
        require(window < self.height - pending.closed_in <= 2 * window, "a reveal outside its window")
        require(key in self.commitments and key not in self.reported, "a reveal's signer")
        account = self.used[signer].account
        parts = self.network, u64(report.epoch), account, encode("ScoreReport", report), reveal.salt
        require(self.commitments[key] == derive("lucid score report commitment 1", *parts), "a reveal's commitment")
        self.reported[key] = report
        self.reveals.setdefault(report.epoch, []).append(self.read_report(self.draws[report.epoch], signer, report))

    def read_report(self, draw, signer, report):
        """What a report says of each worker, with the signer's seats: observations, and chunks proved."""
        place = draw.reporters.index(signer)
        held = lambda seats: [(it, seat.count) for it in draw.scored for seat in it[seats] if seat.reporter == place]
        assigned, stored = held("seats"), held("storage")
        measured = chosen(assigned, report.measured)
        pings, echoes, moved = iter(report.pings), iter(report.echoes), {it.place: it.group for it in report.moved}
        order = [it.place for it in report.moved]
        require(order == sorted(set(order)) and len(order) <= min(256, -(-len(assigned) // 2)), "the workers that moved")
        require(len(measured) == len(report.pings), "a report's length")
        require(sum(it.echo_bytes is not None for _, it, _ in measured) == len(report.echoes), "a report's echoes")
        observations = {}
        for i, it, seats in measured:
            ping, kbit_s = next(pings), next(echoes) if it.echo_bytes is not None else None
            kbit_s = None if kbit_s is None else scale(kbit_s)
            require(ping.sent or kbit_s is not None, "an observation of nothing")
            require(ping.answered <= ping.sent <= self.policy(report.epoch).pings, "an observation's pings")
            require((kbit_s or 0) <= 1 << 31, "an observation's echo")
            rtt = scale(ping.rtt_us)
            require((ping.answered > 0) == (rtt > 0) and rtt <= 2_000_000, "an observation's round trip")
            group = moved.pop(i, None) if ping.answered else None
            require(group is None or group != it.group and is_group(group), "a worker that moved")
            seen = group or it.group if ping.answered else None
            observations[it.node] = Record(sent=ping.sent, answered=ping.answered, rtt=rtt, kbit_s=kbit_s, group=seen, seats=seats)
        require(not moved, "a worker that moved and was not seen")
        challenged = chosen(stored, report.challenged)
        require(len(challenged) == len(report.proved), "a report's chunks")
        require(all(n <= it.quota for (_, it, _), n in zip(challenged, report.proved)), "chunks beyond the quota")
        proved = {it.node: (n, seats) for (_, it, seats), n in zip(challenged, report.proved)}
        return observations, proved

    # Epochs and seats

    def close_epochs(self):
        length, first = self.fixed.epoch_ms, self.closed + 1
        last = (self.time - self.genesis.genesis_time) // length
        if last < first:
            return
        if first in self.draws:
            self.pending[first] = Record(closed_in=self.height)
        self.closed, start = last, self.genesis.genesis_time + last * length
        self.commands.closed(last, self.beacon)
        self.fix_terms(last + 1)
        if self.time <= start + length // 2:
            self.draws[last + 1] = self.draw(last + 1)

    def settlement(self, epoch):
        return -(-epoch // self.fixed.settle_every)

    def fix_terms(self, open):
        """Who may hold chunks in the terms that begin in the next settlement, and in this one if a stall has passed over it."""
        settlement = self.settlement(open)
        if settlement + 1 in self.terms:
            return
        fields = "node", "operator", "power"
        holders = sorted((Record({field: it[field] for field in fields}) for it in self.at(self.height)), key=lambda it: it.node)
        for begin in settlement, settlement + 1:
            seed = derive("lucid storage term 1", self.beacon, u64(begin))
            self.terms.setdefault(begin, Record(seed=seed, holders=holders))
        before = [begin for begin in self.terms if begin <= settlement + 1 - self.fixed.storage_term]
        for begin in before:
            if begin < max(before):
                del self.terms[begin]

    def committee(self, worker, epoch):
        """The storage seats of a worker, by the places of the validators."""
        settlement, term = self.settlement(epoch), self.fixed.storage_term
        begin = max(1, settlement - (settlement + int.from_bytes(worker[:8], "big")) % term)
        term = self.terms[max((it for it in self.terms if it <= begin), default=min(self.terms))]
        lots = keyed(derive("lucid storage seats 1", term.seed), worker, 48 + 8 * len(term.holders))
        places = {it.node: i for i, it in enumerate(self.at(self.height))}
        held = [(term.holders[seat.reporter].node, seat.count) for seat in self.seats(self.policy(epoch), worker, lots, term.holders)]
        held = [Record(reporter=places[node], count=count) for node, count in held if node in places]
        return sorted(held, key=lambda seat: seat.reporter)

    def draw(self, epoch):
        policy, seed = self.policy(epoch), derive("lucid epoch seed 1", self.beacon, u64(epoch))
        key, echo_key = derive("lucid seats 2", seed), derive("lucid echo epoch 2", seed)
        pools = {node: it.membership.pool for node, it in self.nodes.items() if counts(it.membership, epoch)}
        pools = {node: pool for node, pool in pools.items() if self.pools.counts(pool, epoch)}
        away = {node: self.maintenance(node, epoch) for node in pools}
        pools = {node: pool for node, pool in pools.items() if away[node] != "all"}
        validators = self.at(self.height)
        lots = {node: keyed(key, node, 48 + 8 * len(validators)) for node in pools}
        groups = [self.nodes[node].group for node in pools if policy.one_per_network and any(self.nodes[node].group)]
        scored = []
        for node in sorted(sorted(lots, key=lambda node: (lots[node][:16], node))[:policy.max_scored]):
            group, capacity = self.nodes[node].group, self.nodes[node].capacity
            has_echo = away[node] is None and number(keyed(echo_key, group if any(group) else pools[node], 32)) % policy.echo_every == 0
            kbit_s = self.decayed(self.workers[node].kbit_s, epoch) if node in self.workers else 0
            kbit_s = min(kbit_s, capacity.bandwidth_kbit_s or kbit_s)
            length = min(max(kbit_s * policy.echo_ms // 8, policy.echo_min_bytes), policy.echo_max_bytes)
            disk = min(capacity.disk_bytes // 2, policy.storage_max_bytes) if away[node] is None else 0
            quota = min(65_535, disk // (policy.seats << 20))
            scored.append(Record(
                node=node, pool=pools[node], group=group, sharers=min(65_535, max(1, groups.count(group))), quota=quota,
                echo_bytes=to_scale(length) if has_echo else None, seats=self.seats(policy, node, lots[node], validators),
                storage=self.committee(node, epoch) if quota else []))
        loads = [0] * len(validators)
        echoed = [it for it in scored if it.echo_bytes is not None]
        for it in sorted(echoed, key=lambda it: (lots[it.node][32:48], it.node)):
            length, holders = scale(it.echo_bytes), [seat.reporter for seat in it.seats]
            if all(loads[holder] + length <= policy.echo_epoch_bytes for holder in holders):
                for holder in holders:
                    loads[holder] += length
            else:
                it.echo_bytes = None
        return Record(seed=seed, reporters=[it["keys"].id for it in validators], scored=scored)

    def maintenance(self, node, epoch):
        """What it does not do in an epoch."""
        covers = (it.scope.variant for it in self.nodes[node].maintenance if it["from"] <= epoch < it.until)
        return next(covers, None)

    def seats(self, policy, worker, lots, validators):
        operator = self.nodes[worker].operator
        may = [(i, it) for i, it in enumerate(validators) if it.operator != operator and it.node != worker]
        power = sum(it.power for _, it in may)
        if len({it.operator for _, it in may}) < policy.min_seat_operators or power * PPM <= sum(it.power for it in validators) * policy.min_seat_power:
            return []
        for n, j in enumerate(range(len(may) - 1, 0, -1)):
            other = int.from_bytes(lots[48 + 8 * n:56 + 8 * n], "little") * (j + 1) >> 64
            may[j], may[other] = may[other], may[j]
        start, before, held = number(lots[16:32]) % power, 0, []
        for i, it in may:
            low, before = before, before + it.power
            count = sum(policy.seats * low <= start + seat * power < policy.seats * before for seat in range(policy.seats))
            if count:
                held.append(Record(reporter=i, count=count))
        return sorted(held, key=lambda seat: seat.reporter)

    # Medians and scores

    def finalise(self, epoch):
        draw, reports = self.draws.pop(epoch), self.reveals.pop(epoch, [])
        del self.pending[epoch]
        of = lambda node, kind: [report[kind][node] for report in reports if node in report[kind]]
        policy = self.policy(epoch)
        medians = [(it, self.medians(policy, it, of(it.node, 0), of(it.node, 1))) for it in draw.scored]
        medians = [(it, found) for it, found in medians if found]
        groups = [found.group for _, found in medians if found.group and any(found.group)]
        rows = []
        for it, found in medians:
            agreed = it.sharers if found.group == it.group else 1
            shares = policy.one_per_network and found.group in groups
            rows.append(self.score(epoch, it, found, max(groups.count(found.group), agreed) if shares else 1))
            if found.group not in (None, it.group) and it.node in self.nodes:
                self.nodes[it.node].group = found.group
        self.count_reports(epoch, draw, rows)
        self.rows[epoch], self.scored = rows, epoch
        self.score_roots[epoch] = tree_root({row.worker: encode("ScoreRow", row) for row in rows})
        for table in self.commitments, self.reported:
            for key in [key for key in table if key[0] == epoch]:
                del table[key]
        self.pools.add_shares(epoch, rows, {it.node: it.pool for it in draw.scored})

    def medians(self, policy, worker, observations, proved):
        def is_quorum(found):
            return len(found) >= max(1, policy.min_reporters) and 3 * sum(weight for _, weight in found) >= 2 * policy.seats

        def median(found):
            if not is_quorum(found):
                return None
            values = sorted(found)
            up_to = accumulate(weight for _, weight in values)
            return next(value for (value, _), weights in zip(values, up_to) if 2 * weights >= sum(weight for _, weight in values))

        def all_chunks(found):
            most = median(found)
            total = lambda: sum(min(chunks, most) * weight for chunks, weight in found)
            return None if most is None else policy.seats * total() // sum(weight for _, weight in found)

        pinged = [it for it in observations if it.sent]
        of_pings = lambda field: median([(field(it), it.seats) for it in pinged])
        passed = lambda it: it.answered + bool(it.kbit_s)
        kbit_s = median([(it.kbit_s, it.seats) for it in observations if it.kbit_s is not None])
        seen = [(it.group, it.seats) for it in observations if it.group is not None]
        by_group = {group: sum(weight for it, weight in seen if it == group) for group, _ in seen}
        if not is_quorum([(0, it.seats) for it in pinged]):
            return None
        return Record(
            reachable_ms=of_pings(lambda it: policy.epoch_ms * it.answered // it.sent),
            success=of_pings(lambda it: ratio(passed(it), it.sent + (it.kbit_s is not None))),
            rtt_us=of_pings(lambda it: it.rtt if it.answered else 2_000_000),
            echo=None if kbit_s is None else Record(bytes=scale(worker.echo_bytes) if kbit_s else 0, kbit_s=kbit_s),
            chunks=all_chunks(proved),
            group=min(by_group, key=lambda group: (-by_group[group], group)) if is_quorum(seen) else None)

    def sums(self, policy, stats, at):
        """What was measured of a worker in the windows at an epoch."""
        credits, _ = turn(stats.credits, self.fixed.credits_window, 84, stats.measured, at)
        history, _ = turn(stats.history, self.fixed.history_window, 24, stats.measured, at)
        sums = Record({field: sum(it[field] for it in credits) for field in ("credits", "reachable_ms", "epochs")})
        sums.session_ms = sum(history)
        sums.denominator = max(sums.epochs, policy.min_denominator) * policy.epoch_ms
        sums.uptime = ratio(sums.reachable_ms, sums.denominator)
        return sums

    def record(self, stats, epoch, earned, reachable):
        """Turns a worker's buckets to the epoch, and adds to the newest ones."""
        credits, newer = turn(stats.credits, self.fixed.credits_window, 84, stats.measured, epoch)
        empty = Record(credits=0, reachable_ms=0, epochs=0)
        first, *others = [Record(empty) for _ in range(newer)] + credits or [Record(empty)]
        first.credits, first.reachable_ms, first.epochs = first.credits + earned, first.reachable_ms + reachable, first.epochs + 1
        stats.credits = [first, *others]
        history, newer = turn(stats.history, self.fixed.history_window, 24, stats.measured, epoch)
        first, *others = [0] * newer + history or [0]
        stats.history, stats.measured = [first + reachable, *others], epoch
        for ring, none in (stats.credits, empty), (stats.history, 0):
            while ring and ring[-1] == none:
                ring.pop()

    def decayed(self, measured, at):
        """What a value and the epoch in which it was measured are worth at a later one."""
        (value, epoch), window = measured, self.fixed.history_window
        age, held = at - epoch, window // 4
        return value if age <= held else value * max(0, window - age) // (window - held)

    def earned(self, epoch, medians):
        policy = self.policy(epoch)
        length = medians.echo.bytes if medians.echo else 0
        relay = max(policy.seats, -(-policy.seats * length // policy.echo_bytes_per_credit)) if length else 0
        chunks = medians.chunks or 0
        whole = min(1 << 40, chunks * policy.storage_credits_per_gib // 1024 + chunks * policy.storage_credits_per_chunk)
        first = (epoch - 1) % policy.settle_every
        storage = whole * (first + 1) // policy.settle_every - whole * first // policy.settle_every
        return Record(relay=min(1 << 40, relay), storage=storage)

    def score(self, epoch, worker, medians, sharers):
        policy, earned = self.policy(epoch), self.earned(epoch, medians)
        stats = self.workers.setdefault(worker.node, blank("WorkerStats", kbit_s=(0, 0), utilisation=(0, 0), trust=500_000))
        credits = min(1 << 40, (earned.relay + earned.storage) // sharers)
        reachable = min(medians.reachable_ms, policy.epoch_ms)
        self.record(stats, epoch, credits, reachable)
        sums = self.sums(policy, stats, epoch)
        if medians.echo:
            stats.kbit_s = medians.echo.kbit_s, epoch
        if medians.chunks is not None and worker.quota:
            floor = min(65_535, -(-policy.storage_floor_bytes // (policy.seats << 20)))
            stats.utilisation = ratio(medians.chunks, policy.seats * max(worker.quota, floor)), epoch
        stats.quality = medians.success if medians.rtt_us <= 50_000 else medians.success * 50_000 // medians.rtt_us
        stats.trust = (15 * stats.trust + medians.success) // 16
        parts = Record(
            session_time=ratio(sums.session_ms // 1_000, policy.full_session_s),
            work_credits=ratio(sums.credits, policy.full_credits), utilisation=self.decayed(stats.utilisation, epoch),
            bandwidth=ratio(self.decayed(stats.kbit_s, epoch), policy.full_kbit_s), uptime=sums.uptime,
            quality=stats.quality, trust=stats.trust)
        stats.score = sum(policy.weights[factor] * part for factor, part in parts.items()) // PPM
        return Record(
            worker=worker.node, earned=earned, sharers=sharers, credits=credits, reachable_ms=reachable, components=parts,
            score=stats.score, aggregate=medians)
