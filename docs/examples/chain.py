"""The rules of docs/src/specification.md: what a block must be, and what it does to the state. Those of pools stand in pools.py."""
from itertools import accumulate

from hashes import H, check_bls, check_contradiction, check_signature, derive, keyed, leaf, merkle, number, state_root, u32, u64
from layouts import Record, blank, encode, require
from pools import PPM, Pools


def ratio(part, whole):
    return min(part, whole) * PPM // whole if whole else 0


def scale(code):
    exponent, mantissa = code >> 11, code & 2047
    return mantissa if exponent == 0 else (2048 + mantissa) << exponent - 1


def to_scale(value):
    """The greatest code whose value is at most this one."""
    shift = max(0, value.bit_length() - 12)
    return value if value < 2048 else (shift + 1 << 11) + (value >> shift) - 2048


class Chain:
    """The state after the newest block."""

    def __init__(self, genesis):
        self.genesis, self.policy = genesis, genesis.policy
        self.network = H(encode("Genesis", genesis))
        self.validators = sorted(genesis.validator, key=lambda it: it.node)
        self.power = sum(it.power for it in self.validators)
        self.registered = {it.node: it for it in genesis.worker}
        for it in self.validators:
            check_bls(it.bls_key, b"BLS_POP", it.bls_key + it.node, it.bls_proof)
        beacon = derive("lucid first beacon 1", self.network)
        self.height, self.block, self.time = 0, self.network, genesis.genesis_time
        self.beacon, self.previous_beacon, self.closed, self.scored = beacon, beacon, 0, 0
        self.pending, self.row_roots, self.equivocations = {}, {}, {}
        self.workers = {node: blank("WorkerStats", trust=500_000) for node in sorted(self.registered)}
        self.pools = Pools(self)
        self.open = self.draw(1)
        # No part of the state: rows of final epochs, and what was revealed of pending ones.
        self.rows, self.reveals = {}, {}

    # What a block holds

    def proposer(self, turn, height):
        left, power = list(self.validators), self.power
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
        require(header.next_set == derive("lucid validator set 1", encode("Vec<Validator>", self.validators)), "the set's hash")
        interval = self.policy.window_block_min_ms if self.pending else self.policy.block_min_ms
        require(header.time >= self.time + interval, "the time")
        proposer = self.proposer(header.round, header.height)
        require(header.proposer == proposer.node, "the proposer")
        check_bls(proposer.bls_key, b"BLS_SIG", b"\x0elucid/randao/1" + self.network + u64(header.height), header.randao)
        for it in block.commitments:
            check_signature(self.network, "lucid/report-commitment/1", "ReportCommitment", it.signer, it.record, it.signature)
        for it in block.reveals:
            check_signature(self.network, "lucid/report/1", "Reveal", it.signer, it.record, it.signature)
        for it in block.commands:
            signers = [signer for signer, _ in it.signatures]
            require(0 < len(signers) <= 17 and signers == sorted(set(signers)), "a command's signers")
            for signer, signature in it.signatures:
                check_signature(self.network, "lucid/pool-command/1", "PoolCommand", signer, it.record, signature)
        for it in block.evidence:
            check_contradiction(self.network, it)
            signer, height = it["0"][0].signer, it["0"][0].record.height
            require(0 <= header.height - height <= self.policy.evidence_blocks, "the height of evidence")
            require(signer in (it.node for it in self.validators) and signer not in self.equivocations, "the signer in evidence")
        for order in (
                [(it.record.epoch, it.signer) for it in block.commitments],
                [(it.record.report.epoch, it.signer) for it in block.reveals],
                [(it.record.pool, it.record.number) for it in block.commands],
                [it["0"][0].signer for it in block.evidence]):
            require(order == sorted(set(order)), "the items' order")

    def check_certificate(self, certificate, header):
        require((certificate.height, certificate.block) == (header.height, H(encode("Header", header))), "the certificate's block")
        signers = [signer for signer, _ in certificate.signatures]
        powers = {it.node: it.power for it in self.validators}
        require(signers == sorted(set(signers)) and set(signers) <= set(powers), "the certificate's signers")
        require(3 * sum(powers[signer] for signer in signers) > 2 * self.power, "the certificate's power")
        vote = Record(kind=Record(variant="Precommit"), height=header.height, round=certificate.round, block=certificate.block)
        for signer, signature in certificate.signatures:
            check_signature(self.network, "lucid/vote/1", "Vote", signer, vote, signature)

    # What a block does

    def execute(self, block):
        """Carries out a checked block, and compares what it leads to with what it says."""
        header, newest, last_beacon = block.header, self.pools.newest_roots(), self.beacon
        self.height, self.block, self.time = header.height, H(encode("Header", header)), header.time
        self.previous_beacon, self.beacon = self.beacon, derive("lucid random beacon 2", self.beacon, header.randao)
        for it in block.commitments:
            self.commit(it.signer, it.record)
        for it in block.reveals:
            self.reveal(it.signer, it.record)
        for first, _ in (it["0"] for it in block.evidence):
            self.equivocations[first.signer] = Record(height=first.record.height, proved_in=self.height)
        for it in block.commands:
            self.pools.apply(it.record, {signer for signer, _ in it.signatures})
        for epoch in [epoch for epoch, it in self.pending.items() if self.height == it.closed_in + 2 * self.policy.report_window]:
            self.finalise(epoch)
        self.close_epochs()
        self.pools.settle(last_beacon)
        changed = [root for pool, root in self.pools.newest_roots().items() if root != newest[pool]]
        require(header.payout_roots == changed, "the payout roots")
        require(header.state_root == self.root(), "the state root")

    def root(self):
        return state_root({**vars(self), "worker_stats": self.workers, "pools": self.pools.states})

    # Reports

    def commit(self, signer, commitment):
        pending = self.pending[commitment.epoch]
        require(0 < self.height - pending.closed_in <= self.policy.report_window, "a commitment outside its window")
        require(signer in pending.draw.reporters and signer not in pending.commitments, "a commitment's signer")
        pending.commitments[signer] = commitment.report

    def reveal(self, signer, reveal):
        report, window = reveal.report, self.policy.report_window
        pending = self.pending[report.epoch]
        require(window < self.height - pending.closed_in <= 2 * window, "a reveal outside its window")
        require(signer in pending.commitments and signer not in pending.revealed, "a reveal's signer")
        parts = self.network, u64(report.epoch), signer, encode("ScoreReport", report), reveal.salt
        require(pending.commitments[signer] == derive("lucid score report commitment 1", *parts), "a reveal's commitment")
        pending.revealed = sorted([*pending.revealed, signer])
        self.reveals.setdefault(report.epoch, []).append(self.observations(pending.draw, signer, report))

    def observations(self, draw, signer, report):
        """What a report says of each worker, with the signer's seats."""
        place = draw.reporters.index(signer)
        assigned = [(it, seat.count) for it in draw.scored for seat in it.seats if seat.reporter == place]
        bits = int.from_bytes(report.measured, "little")
        require(len(report.measured) == -(-len(assigned) // 8) and bits >> len(assigned) == 0, "a report's bits")
        measured = [entry for i, entry in enumerate(assigned) if bits >> i & 1]
        require(len(measured) == len(report.observations), "a report's length")
        for (it, _), o in zip(measured, report.observations):
            echo_bytes, most = (it.echo_bytes, 1 << 31) if o.echoes_verified else (0, 0)
            require(o.pings_sent + o.echoes_sent > 0, "an observation of nothing")
            require(o.pings_answered <= o.pings_sent <= self.policy.pings, "an observation's pings")
            require(o.echoes_verified <= o.echoes_sent <= (it.echo_bytes is not None), "an observation's echoes")
            require(o.echo_bytes == echo_bytes and scale(o.echo_kbit_s) <= most, "an observation's bytes")
            require((o.pings_answered > 0) == (o.rtt_us > 0) and scale(o.rtt_us) <= 2_000_000, "an observation's round trip")
        return {it.node: (seats, o) for (it, seats), o in zip(measured, report.observations)}

    # Epochs and seats

    def close_epochs(self):
        length, first = self.policy.epoch_ms, self.closed + 1
        last = (self.time - self.genesis.genesis_time) // length
        if last < first:
            return
        if self.open:
            self.pending[first] = blank("PendingEpoch", closed_in=self.height, draw=self.open)
        self.closed, start = last, self.genesis.genesis_time + last * length
        self.open = self.draw(last + 1) if self.time <= start + length // 2 else None

    def draw(self, epoch):
        policy, seed = self.policy, derive("lucid epoch seed 1", self.beacon, u64(epoch))
        chosen = sorted(self.pools.of, key=lambda node: derive("lucid scored worker 1", seed, node))[:policy.max_scored]
        scored = []
        for node in sorted(chosen):
            has_echo = number(derive("lucid echo epoch 1", seed, self.pools.of[node])) % policy.echo_every == 0
            length = min(max(self.workers[node].kbit_s * policy.echo_ms // 8, policy.echo_min_bytes), policy.echo_max_bytes)
            scored.append(Record(node=node, echo_bytes=to_scale(length) if has_echo else None, seats=self.seats(seed, node)))
        loads = [0] * len(self.validators)
        echoed = [it for it in scored if it.echo_bytes is not None]
        for it in sorted(echoed, key=lambda it: derive("lucid echo order 1", seed, it.node)):
            length, holders = scale(it.echo_bytes), [seat.reporter for seat in it.seats]
            if all(loads[holder] + length <= policy.echo_epoch_bytes for holder in holders):
                for holder in holders:
                    loads[holder] += length
            else:
                it.echo_bytes = None
        return Record(seed=seed, reporters=[it.node for it in self.validators], scored=scored)

    def seats(self, seed, worker):
        policy, key, operator = self.policy, derive("lucid seats 1", seed, worker), self.registered[worker].operator
        may = [(i, it) for i, it in enumerate(self.validators) if it.operator != operator and it.node != worker]
        power = sum(it.power for _, it in may)
        if len({it.operator for _, it in may}) < policy.min_seat_operators or power * PPM <= self.power * policy.min_seat_power:
            return []
        start, before, held = number(key) % power, 0, []
        for i, it in sorted(may, key=lambda entry: keyed(key, entry[1].node)[:16]):
            low, before = before, before + it.power
            count = sum(policy.seats * low <= start + seat * power < policy.seats * before for seat in range(policy.seats))
            if count:
                held.append(Record(reporter=i, count=count))
        return sorted(held, key=lambda seat: seat.reporter)

    # Medians and scores

    def finalise(self, epoch):
        policy, pending, reports = self.policy, self.pending.pop(epoch), self.reveals.pop(epoch, [])
        for past in self.row_roots:
            for row in self.rows[past]:
                stats = self.workers[row.worker]
                if self.scored < past + policy.credits_window <= epoch:
                    stats.credits, stats.reachable_ms = stats.credits - row.credits, stats.reachable_ms - row.reachable_ms
                    stats.epochs -= 1
                if self.scored < past + policy.history_window <= epoch:
                    stats.session_ms -= row.reachable_ms
        medians = [(it.node, self.medians([report[it.node] for report in reports if it.node in report])) for it in pending.draw.scored]
        rows = [self.score(worker, of) for worker, of in medians if of]
        longest = max(policy.credits_window, policy.history_window)
        self.rows[epoch], self.scored = rows, epoch
        self.row_roots[epoch] = merkle([leaf(row.worker, encode("ScoreRow", row)) for row in rows])
        self.row_roots = {past: root for past, root in self.row_roots.items() if past + longest > epoch}
        self.pools.add_shares(rows)

    def medians(self, observations):
        policy = self.policy
        seats = lambda some: sum(weight for weight, _ in some)
        is_quorum = lambda some: len(some) >= max(1, policy.min_reporters) and 3 * seats(some) >= 2 * policy.seats
        pinged, echoed = [it for it in observations if it[1].pings_sent], [it for it in observations if it[1].echoes_sent]
        if not is_quorum(pinged):
            return None

        def median(some, field):
            values = sorted((field(o), weight) for weight, o in some)
            up_to = accumulate(weight for _, weight in values)
            return next(value for (value, _), weights in zip(values, up_to) if 2 * weights >= seats(some))

        of_echoes = (lambda field, none: median(echoed, field)) if is_quorum(echoed) else (lambda field, none: none)
        return Record(
            reachable_ms=median(pinged, lambda o: policy.epoch_ms * o.pings_answered // o.pings_sent),
            success=median(pinged, lambda o: ratio(o.pings_answered + o.echoes_verified, o.pings_sent + o.echoes_sent)),
            rtt_us=median(pinged, lambda o: scale(o.rtt_us) if o.pings_answered else 2_000_000),
            echoes=of_echoes(lambda o: o.echoes_verified, 0),
            echo_bytes=of_echoes(lambda o: scale(o.echo_bytes), 0),
            echo_kbit_s=of_echoes(lambda o: scale(o.echo_kbit_s), None))

    def denominator(self, stats):
        return max(stats.epochs, self.policy.min_denominator) * self.policy.epoch_ms

    def uptime(self, stats):
        return ratio(stats.reachable_ms, self.denominator(stats))

    def score(self, worker, medians):
        policy, stats = self.policy, self.workers[worker]
        earned = min(1 << 40, max(medians.echoes, -(-medians.echo_bytes // policy.echo_bytes_per_credit)))
        reachable = min(medians.reachable_ms, policy.epoch_ms)
        stats.credits, stats.reachable_ms, stats.epochs = stats.credits + earned, stats.reachable_ms + reachable, stats.epochs + 1
        stats.session_ms += reachable
        stats.kbit_s = stats.kbit_s if medians.echo_kbit_s is None else medians.echo_kbit_s
        stats.quality = medians.success if medians.rtt_us <= 50_000 else medians.success * 50_000 // medians.rtt_us
        stats.trust = (15 * stats.trust + medians.success) // 16
        parts = Record(
            session_time=ratio(stats.session_ms // 1_000, 36_000), work_credits=ratio(stats.credits, 10_000), utilisation=0,
            bandwidth=ratio(stats.kbit_s, 1_000_000), uptime=self.uptime(stats), quality=stats.quality, trust=stats.trust)
        stats.score = sum(policy.weights[factor] * part for factor, part in parts.items()) // PPM
        return Record(
            worker=worker, credits=earned, reachable_ms=reachable, components=parts, score=stats.score, aggregate=medians)
