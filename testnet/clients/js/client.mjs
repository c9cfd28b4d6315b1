#!/usr/bin/env node
// A peer of a Lucid network in JavaScript, written from the book alone (docs/src/clients.md): it joins by a join string, finds every
// node by Kademlia, reads and verifies the chain and a snapshot of the state, and takes part in the gossip of a stranger.
//
//   client.mjs JOIN_STRING [--seconds 60] [--nodes N] [--key FILE] [--apis HOST:PORT,...]
//              [--wrong-message-id] [--tamper] [--network ID]
//
// It stays for --seconds; with 0 it takes no part in gossip. --nodes: a snapshot is awaited in which so many validators and members of
// pools stand. --key is a node.key to be instead of a fresh one. --apis are nodes of a local network that are asked in the end how gossip
// scores this peer. The last three break something on purpose. Exit code 0 if everything holds, 1 with a line that says what does not.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import "./node20.mjs";
import { generateKeyPair, generateKeyPairFromSeed, publicKeyFromRaw } from "@libp2p/crypto/keys";
import { peerIdFromPublicKey, peerIdFromString } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import { bech32m } from "bech32";

import { Chain, State } from "./chain.mjs";
import { decode, demand, encode } from "./codec.mjs";
import { Gate } from "./gate.mjs";
import { ask, nameOf, startNode } from "./node.mjs";

const TABLE = { members: 0x04, nodes: 0x0b, validators: 0x10 };
/// Until a young network has its first snapshot, every node has come up in lookups, a certified block is there, and a validator has
/// pinged a worker for us.
const [SNAPSHOT_MS, LOOKUP_MS, BLOCK_MS, VALIDATION_MS] = [90_000, 30_000, 15_000, 30_000];
const MAX_JOIN_STRING = 8192;

const started = Date.now();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (step, text) => console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s  ${step.padEnd(12)} ${text}`);
const hex = (bytes) => bytes.toString("hex");
const short = (bytes) => hex(bytes).slice(0, 12);
const peerOf = (key) => peerIdFromPublicKey(publicKeyFromRaw(key));

async function within(ms, what, attempt) {
  for (const until = Date.now() + ms; ; await sleep(200)) {
    const done = await attempt();
    if (done) return done;
    demand(Date.now() < until, `${what} in ${ms / 1000} s`);
  }
}

function readJoinString(text) {
  const { prefix, words } = bech32m.decode(text, MAX_JOIN_STRING);
  const data = Buffer.from(bech32m.fromWords(words));
  demand(prefix === "lucid" && data[0] === 1 && data.readUInt16LE(1) === data.length - 3, "the form of the join string");
  return decode("JoinString", data.subarray(3));
}

class Client {
  constructor(node, network, options) {
    Object.assign(this, { node, network, options, gone: [] });
  }

  async sync(peer, request) {
    const answer = await ask(this.node, this.network, peer, "sync", encode("SyncRequest", request));
    return answer && decode("SyncResponse", answer);
  }

  /// Connects, and waits until the peer has said of which network it is.
  async connect(target) {
    const ours = `/lucid/${hex(this.network)}/1`;
    const connection = await this.node.dial(target, { signal: AbortSignal.timeout(10_000) });
    const peer = connection.remotePeer;
    const version = await within(10_000, "no Identify message", async () => {
      const known = (await this.node.peerStore.get(peer)).metadata.get("ProtocolVersion");
      // Whoever is identified first, the other one hangs up.
      demand(known || connection.status === "open", `${peer} closed the connection at once, as nodes of another network do`);
      return known;
    });
    const theirs = Buffer.from(version).toString();
    demand(theirs === ours, `${peer} is of another network: ${theirs} instead of ${ours}`);
    return peer;
  }

  async connectToFirst(addresses) {
    let failure = new Error("no bootstrap address over TCP");
    for (const address of addresses) {
      try {
        return await this.connect(multiaddr(address));
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async readGenesis(peer) {
    const answer = await this.sync(peer, { variant: "Genesis" });
    demand(answer?.variant === "Genesis", "no genesis");
    this.chain = new Chain(this.network, answer[0]);
    await this.readSets(peer);
    const { name, validator } = this.chain.genesis;
    say("genesis", `of "${name}", ${validator.length} validators, ${this.chain.sets.length - 1} changes of them`);
  }

  /// The validators of today. They may have changed whenever a certificate comes that no block before it has led to.
  async readSets(peer) {
    for (;;) {
      const [from] = this.chain.sets.at(-1);
      const answer = await this.sync(peer, { variant: "SetChanges", above: from && from - 2n });
      demand(answer?.variant === "SetChanges", "no changes of the validators");
      if (answer[0].length === 0) return;
      answer[0].forEach((change) => this.chain.addSet(change));
    }
  }

  /// Reads the newest snapshot; of a young network the first one that has all its nodes.
  async readSnapshot(peer) {
    const wanted = Number(this.options.nodes);
    await within(SNAPSHOT_MS, `no snapshot of ${wanted} nodes`, async () => {
      const newest = (await this.sync(peer, { variant: "Snapshots" }))?.[0][0];
      if (!newest || newest.header.height === this.snapshot?.header.height) return false;
      await this.readState(peer, newest);
      return this.validators.length + this.members.length >= wanted;
    });
    say("snapshot", `${this.validators.length} validators, ${this.members.length} members of pools`);
  }

  async readState(peer, snapshot) {
    const { height, state_root } = snapshot.header;
    await this.readSets(peer);
    this.chain.checkHeader(snapshot);
    const state = new State(state_root);
    let pages = 0;
    for (; !state.isWhole; pages++) {
      const after = state.rows.at(-1)?.key ?? Buffer.alloc(0);
      const answer = await this.sync(peer, { variant: "SnapshotRows", height, after });
      demand(answer?.variant === "SnapshotRows" && answer[0], "no page of the snapshot");
      state.addPage(answer[0]);
    }
    this.snapshot = snapshot;
    const [[from, validators]] = state.table(TABLE.validators).slice(-1);
    const known = this.chain.validatorsAt(from.readBigUInt64BE());
    demand(encode("Vec<Validator>", validators).equals(encode("Vec<Validator>", known)), "the state's validators");
    this.nodes = new Map(state.table(TABLE.nodes).map(([account, { key }]) => [hex(account), key]));
    const keyOf = (account) => this.nodes.get(hex(account)) ?? account;
    const members = state.table(TABLE.members).filter(([, { standing }]) => standing.variant === "good");
    this.members = members.map(([key]) => keyOf(key.subarray(32)));
    this.validators = validators.map(({ node }) => keyOf(node));
    const own = Buffer.from(this.node.peerId.publicKey.raw);
    this.isValidator = this.validators.some((key) => key.equals(own));
    this.expected = [...this.validators, ...this.members].filter((key) => !key.equals(own));
    say("snapshot", `of block ${height}: ${state.rows.length} rows in ${pages} pages have its root ${short(state_root)}`);
  }

  /// Looks up ids until every expected node has come up, and connects to each.
  async findAll() {
    const found = new Map();
    const missing = () => this.expected.map(peerOf).filter((peer) => !found.has(peer.toString()));
    let lookups = 0;
    const lookUp = async () => {
      const key = (missing()[0] ?? this.node.peerId).toMultihash().bytes;
      const signal = AbortSignal.timeout(10_000);
      lookups++;
      try {
        for await (const event of this.node.services.kad.getClosestPeers(key, { signal })) {
          const heard = event.name === "PEER_RESPONSE" ? event.closer : event.name === "FINAL_PEER" ? [event.peer] : [];
          for (const { id, multiaddrs } of heard) if (multiaddrs.length > 0) found.set(id.toString(), multiaddrs);
        }
      } catch (error) {
        if (!signal.aborted) throw error;
      }
      return missing().length === 0;
    };
    await within(LOOKUP_MS, "not every node was found", lookUp).catch((error) => {
      throw new Error(`${error.message}: missing ${missing().join(", ")}`);
    });
    say("kademlia", `found ${found.size} nodes in ${lookups} lookups, all ${this.expected.length} that the state names`);
    for (const key of this.expected) await this.connect(peerOf(key));
    say("connected", `to all ${this.expected.length}`);
    this.node.addEventListener("peer:disconnect", ({ detail: peer }) => {
      if (this.expected.some((key) => peerOf(key).equals(peer))) this.gone.push(peer.toString());
    });
  }

  /// libp2p's ping of everybody, and the probe of every member, which workers answer to validators.
  async ping() {
    const times = [];
    for (const key of this.expected) times.push(await this.node.services.ping.ping(peerOf(key)));
    say("ping", `${times.length} nodes in ${Math.min(...times)} to ${Math.max(...times)} ms`);
    let answered = 0;
    for (const key of this.members) {
      const nonce = randomBytes(32);
      const epoch = this.chain.epochAt(BigInt(Date.now()));
      const answer = await ask(this.node, this.network, peerOf(key), "probe", encode("ProbeRequest", { epoch, nonce }));
      demand(answer || !this.isValidator, `${peerOf(key)} does not answer a validator's probe`);
      demand(!answer || this.isValidator, `${peerOf(key)} answers a stranger's probe`);
      if (!answer) continue;
      const reply = decode("Signed<ProbeReply>", answer);
      demand(reply.signer.equals(key) && this.chain.isSigned("ProbeReply", reply), "the signature of a probe's reply");
      const { record } = reply;
      const isOurs = record.nonce.equals(nonce) && record.epoch === epoch && peerOf(record.validator).equals(this.node.peerId);
      demand(isOurs, "a reply to another probe");
      answered++;
    }
    say("probe", this.isValidator ? `${answered} workers answer, and sign it` : `${this.members.length} workers answer validators only`);
  }

  /// A validator's word that it has pinged a worker for us.
  async validate() {
    const [worker] = this.members;
    const validate = async (validator) => {
      const bytes = await ask(this.node, this.network, peerOf(validator), "validate", encode("ValidationRequest", { worker }));
      const reply = bytes && decode("ValidationReply", bytes);
      return reply?.variant === "Done" && { validator, result: reply[0] };
    };
    const { validator, result } = await within(VALIDATION_MS, "no validator pinged a worker for us", async () => {
      for (const it of this.validators) {
        const done = await validate(it);
        if (done) return done;
      }
      return false;
    });
    demand(result.signer.equals(validator) && this.chain.isSigned("ValidationResult", result), "the signature of a validation");
    const { record } = result;
    demand(record.worker.equals(worker) && record.pings_answered > 0, "a validation of a worker that does not answer");
    say("validate", `a validator signs that a worker answered ${record.pings_answered} of ${record.pings_sent} pings`);
  }

  /// Reads the blocks above the head up to `to` and takes over each.
  async readBlocks(peer, to) {
    let part = Buffer.alloc(0);
    while (this.chain.head.height < to) {
      const page = async () => {
        const answer = await this.sync(peer, { variant: "Blocks", from: this.chain.head.height + 1n, to, skip: part.length });
        return answer?.variant === "Blocks" && answer[0].length > 0 && answer;
      };
      // Who passes a certificate on may have its block a moment later.
      const answer = await within(BLOCK_MS, `${peer} did not give block ${this.chain.head.height + 1n}`, page);
      part = Buffer.concat([part, answer[0]]);
      while (part.length >= 4 && part.length >= 4 + part.readUInt32LE(0)) {
        const frame = part.subarray(4, 4 + part.readUInt32LE(0));
        part = part.subarray(4 + frame.length);
        if (this.options.tamper) frame[frame.length >> 1] ^= 1;
        try {
          await this.addBlock(peer, decode("CertifiedBlock", frame));
        } catch (error) {
          throw new Error(`${peer} gave a wrong block: ${error.message}`);
        }
      }
    }
  }

  async addBlock(peer, block) {
    if (!this.chain.knowsNextSet(block)) await this.readSets(peer);
    const hash = this.chain.addBlock(block);
    const { header, certificate } = this.snapshot;
    demand(this.chain.head.height !== header.height || hash.equals(certificate.block), "the snapshot is of another chain");
  }

  async readChain(peer) {
    const head = await this.sync(peer, { variant: "Head" });
    demand(head?.variant === "Head" && head.newest, "no newest block");
    await this.readSets(peer);
    this.chain.checkCertificate(head.newest);
    demand(head.oldest === 1n, `${peer} does not have block 1 any more`);
    await this.readBlocks(peer, head.newest.height);
    demand(this.chain.head.hash.equals(head.newest.block), "the newest block");
    say("blocks", `1 to ${this.chain.head.height} follow, each with its certificate, items and validators: ${short(this.chain.head.hash)}`);
  }

  /// Takes part in gossip, follows the chain by it, and stays.
  async stay() {
    const { gossip } = this.node.services;
    const gate = new Gate(this.chain, new Set([...this.nodes.values()].map(hex)));
    const kinds = Object.keys(gate.topics);
    const seen = Object.fromEntries(kinds.map((kind) => [kind, { accept: 0, ignore: 0, reject: 0, forged: 0 }]));
    const [bad, broken] = [[], []];
    let following = Promise.resolve();
    for (const kind of kinds) {
      gossip.topicValidators.set(nameOf(this.network, kind), async (from, { data }) => {
        // What is checked must be able to fail: each message comes with a wrong signature first.
        const forged = Buffer.from(data);
        forged[forged.length - 1] ^= 1;
        const [ofForged] = await gate.judge(kind, forged);
        if (ofForged === "accept") broken.push(`a wrong signature in ${kind} was accepted`);
        seen[kind].forged += ofForged === "reject";
        const [verdict, why] = await gate.judge(kind, Buffer.from(data));
        seen[kind][verdict]++;
        if (verdict === "reject") bad.push(`${kind} by ${from}: ${why}`);
        if (verdict === "accept" && kind === "certificates") {
          const follow = () => this.readBlocks(from, decode("Certificate", data).height).then(() => gate.blockAdded());
          following = following.then(follow).catch((error) => broken.push(error.message));
        }
        return verdict;
      });
      gossip.subscribe(nameOf(this.network, kind));
    }
    const leaf = await this.startLeaf(kinds);
    const [first, until] = [this.chain.head.height, Date.now() + this.options.seconds * 1000];
    const check = async () => {
      demand(bad.length === 0, `gossip of no honest node: ${bad[0]}`);
      demand(broken.length === 0, broken[0]);
      await this.demandPeers();
    };
    for (let shown = Date.now() + 10_000; Date.now() < until; await sleep(200)) {
      await check();
      if (Date.now() < shown) continue;
      shown += 10_000;
      say("gossip", kinds.map((kind) => `${kind} ${seen[kind].accept}`).join(", ") + `; block ${this.chain.head.height}`);
    }
    await following;
    await check();
    for (const kind of kinds) {
      demand(seen[kind].accept > 0, `nothing came of ${kind}, or nothing that could be verified`);
      demand(seen[kind].forged > 0, `no wrong signature in ${kind} was rejected`);
      demand(gossip.getMeshPeers(nameOf(this.network, kind)).length > 0, `no mesh for ${kind}`);
    }
    const list = (counts) => kinds.map((kind) => `${counts[kind]} ${kind}`).join(", ");
    say("gossip", `verified ${kinds.map((kind) => `${seen[kind].accept} ${kind}`).join(", ")}; only what was forged for it was rejected`);
    await leaf.node.stop();
    for (const kind of kinds) demand(leaf.came[kind] > 0, `nothing of ${kind} was forwarded`);
    say("gossip", `forwarded to a peer that knows only us: ${list(leaf.came)}`);
    say("blocks", `${first + 1n} to ${this.chain.head.height} followed by their certificates`);
  }

  /// A peer that is connected to this one alone, and counts what comes by it.
  async startLeaf(kinds) {
    const leaf = { node: await startNode({ network: this.network }), came: Object.fromEntries(kinds.map((kind) => [kind, 0])) };
    const { gossip } = leaf.node.services;
    kinds.forEach((kind) => gossip.subscribe(nameOf(this.network, kind)));
    gossip.addEventListener("message", ({ detail: { topic } }) => leaf.came[kinds.find((kind) => topic === nameOf(this.network, kind))]++);
    await leaf.node.dial(this.node.components.transportManager.getAddrs().map((it) => it.encapsulate(`/p2p/${this.node.peerId}`)));
    return leaf;
  }

  async demandPeers() {
    if (this.gone.length === 0) return;
    const [peer] = this.gone;
    const connection = await this.node.dial(peerIdFromString(peer), { signal: AbortSignal.timeout(5000) }).catch(() => null);
    // Whom a node has banned it refuses after the handshake, when it knows the peer's key.
    await sleep(1000);
    const again = connection?.status === "open" ? "and takes us back" : "and bans us";
    const why = this.options["wrong-message-id"] ? ": what we offered by wrong message ids never came" : "";
    throw new Error(`${peer} closed its connection ${again}${why}`);
  }

  /// How gossip scores us, at nodes that show it.
  async askScores(apis) {
    const scores = [];
    for (const api of apis) {
      const { peers } = await (await fetch(`http://${api}/api/v1/peers`)).json();
      const us = peers.find(({ peer_id }) => peer_id === this.node.peerId.toString());
      demand(us, `${api} does not have us among its peers`);
      demand(us.score >= 0, `${api} scores us ${us.score}`);
      scores.push(us.score);
    }
    say("scores", `${scores.length} nodes score us ${Math.min(...scores)} to ${Math.max(...scores)}`);
  }
}

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: "string", default: "60" },
      nodes: { type: "string", default: "1" },
      key: { type: "string" },
      apis: { type: "string" },
      network: { type: "string" },
      tamper: { type: "boolean" },
      "wrong-message-id": { type: "boolean" },
    },
  });
  demand(positionals.length === 1, "usage: client.mjs JOIN_STRING");
  const join = readJoinString(positionals[0]);
  const network = options.network ? Buffer.from(options.network, "hex") : join.network;
  say("join", `network ${short(network)}, ${join.bootstrap.length} bootstrap addresses`);

  const seed = options.key && Buffer.from(readFileSync(options.key, "utf8").trim(), "hex");
  const privateKey = seed ? await generateKeyPairFromSeed("Ed25519", seed) : await generateKeyPair("Ed25519");
  const node = await startNode({ network, privateKey, hasWrongMessageIds: options["wrong-message-id"] });
  try {
    const client = new Client(node, network, options);
    const peer = await client.connectToFirst(join.bootstrap.filter((it) => !it.includes("/udp/")));
    say("identify", `${peer} is of the network`);
    await client.readGenesis(peer);
    await client.readSnapshot(peer);
    await client.findAll();
    await client.ping();
    await client.readChain(peer);
    if (Number(options.seconds) > 0) {
      await client.validate();
      await client.stay();
    }
    if (options.apis) await client.askScores(options.apis.split(","));
    say("done", "everything holds");
  } finally {
    await node.stop();
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    say("FAILED", error.message);
    process.exit(1);
  },
);
