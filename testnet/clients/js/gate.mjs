// Which gossip a stranger passes on (docs/src/wire.md, "Gossip"): what it can judge itself. A verdict is `accept`, `ignore`, or `reject`
// with the reason; only what no honest node sends is rejected.

import { decode } from "./codec.mjs";

/// Commitments come in a block, and the reveals to them at once after it: the block is waited for.
const BLOCK_WAIT_MS = 2000;
const [MAX_PPM, MAX_BYTES, MAX_KBIT_S] = [1_000_000, 1n << 46n, 1n << 31n];

const ignore = ["ignore"];
const accept = ["accept"];
const reject = (why) => ["reject", why];

export class Gate {
  /// `registered` are node keys, as hex.
  constructor(chain, registered) {
    Object.assign(this, { chain, registered, attested: new Map(), revealed: new Set(), certified: new Set(), onBlock: [] });
  }

  /// The topics that are judged here, by their kinds.
  topics = {
    "attestations/0": (data) => this.attestation(data),
    reveals: (data) => this.reveal(data),
    certificates: (data) => this.certificate(data),
  };

  async judge(kind, data) {
    try {
      return await this.topics[kind](data);
    } catch (error) {
      return error.isNewer ? ignore : reject(error.message);
    }
  }

  attestation(data) {
    const signed = decode("Signed<ResourceAttestation>", data);
    const { record } = signed;
    const { capacity } = record;
    const parts = [record.cpu, record.memory, record.disk, record.allocation];
    if (parts.some((it) => it > MAX_PPM)) return reject("a part above the whole");
    if ([capacity.memory_bytes, capacity.disk_bytes].some((it) => it > MAX_BYTES)) return reject("bytes");
    if (capacity.bandwidth_kbit_s > MAX_KBIT_S) return reject("bandwidth");
    const signer = signed.signer.toString("hex");
    if (!this.registered.has(signer)) return ignore;
    const last = this.attested.get(signer) ?? { epoch: 0n, sequence: -1n, count: 0 };
    const isOfSameEpoch = record.epoch === last.epoch;
    const { epoch_ms } = this.chain.genesis.policy;
    const most = Math.max(1, Math.floor(Number(epoch_ms) / 10_000)) + 1;
    if (record.sequence <= last.sequence || record.epoch < last.epoch) return ignore;
    if (record.epoch > this.chain.epochAt(BigInt(Date.now())) + 1n) return ignore;
    if (isOfSameEpoch && last.count >= most) return ignore;
    if (!this.chain.isSigned("ResourceAttestation", signed)) return reject("the signature of an attestation");
    this.attested.set(signer, { epoch: record.epoch, sequence: record.sequence, count: isOfSameEpoch ? last.count + 1 : 1 });
    return accept;
  }

  async reveal(data) {
    const signed = decode("Signed<Reveal>", data);
    const step = `${signed.record.report.epoch} ${signed.signer.toString("hex")}`;
    if (!this.chain.validator(signed.signer) || this.revealed.has(step)) return ignore;
    if (!this.chain.isSigned("Reveal", signed)) return reject("the signature of a reveal");
    const until = Date.now() + BLOCK_WAIT_MS;
    while (this.chain.isCommitted(signed) === undefined && Date.now() < until) await this.nextBlock(until - Date.now());
    if (!this.chain.isCommitted(signed) || this.revealed.has(step)) return ignore;
    this.revealed.add(step);
    return accept;
  }

  certificate(data) {
    const certificate = decode("Certificate", data);
    const { height } = certificate;
    if (height <= this.chain.head.height || this.certified.has(height)) return ignore;
    try {
      this.chain.checkCertificate(certificate);
    } catch (error) {
      if (height > this.chain.head.height + 2n) return ignore;
      throw error;
    }
    this.certified.add(height);
    return accept;
  }

  nextBlock(within) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, within);
      this.onBlock.push(() => (clearTimeout(timer), resolve()));
    });
  }

  blockAdded() {
    this.onBlock.splice(0).forEach((wake) => wake());
  }
}

