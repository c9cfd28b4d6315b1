// A libp2p node that speaks a network's protocols (docs/src/clients.md): TCP, Noise, Yamux, Identify, Kademlia, gossipsub, requests.

import { randomBytes } from "node:crypto";

import { gossipsub } from "@libp2p/gossipsub";
import { identify, identifyPush } from "@libp2p/identify";
import { kadDHT, passthroughMapper } from "@libp2p/kad-dht";
import { noise } from "@libp2p/noise";
import { ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { createLibp2p } from "libp2p";

import { H, number } from "./chain.mjs";
import { demand } from "./codec.mjs";

const [REQUEST_MS, BUSY_MS] = [20_000, 200];
/// The longest answer, a page of `sync`, with its head.
const MAX_ANSWER = (1 << 20) + 64 + 5;

export const nameOf = (network, kind) => `/lucid/${network.toString("hex")}/${kind}/1`;

/// The first 20 bytes of the hash of the topic with its length, and the message.
export function messageId({ topic, data }) {
  const name = Buffer.from(topic);
  return H(number(name.length), name, data).subarray(0, 20);
}

/// What other protocols take, and what nodes do not know a message by: the hash of its bytes alone.
const wrongMessageId = ({ data }) => H(data).subarray(0, 20);

export async function startNode({ network, privateKey, hasWrongMessageIds }) {
  const node = await createLibp2p({
    start: false,
    privateKey,
    // Whoever knows the port may connect; nobody is told of it.
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"], announceFilter: () => [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // Nodes ping by themselves, and have one stream a connection for pings: a second one ends the first.
    connectionMonitor: { enabled: false },
    // Another number at each start: a node with connections of an earlier run closes those.
    nodeInfo: { userAgent: `lucid-js/0.1.0 boot/${randomBytes(8).readBigUInt64LE()}` },
    services: {
      identify: identify(),
      identifyPush: identifyPush(),
      ping: ping(),
      // A client asks and is not asked: nobody can dial it.
      kad: kadDHT({
        protocol: nameOf(network, "kad"),
        clientMode: true,
        allowQueryWithZeroPeers: true,
        peerInfoMapper: passthroughMapper,
      }),
      gossip: gossipsub({
        globalSignaturePolicy: "StrictNoSign",
        fallbackToFloodsub: false,
        msgIdFn: hasWrongMessageIds ? wrongMessageId : messageId,
        seenTTL: 60_000,
        // On one machine all peers have one address.
        scoreParams: { IPColocationFactorWeight: 0 },
      }),
    },
  });
  // js-libp2p has no option for Identify's protocol version, by which nodes tell networks apart.
  for (const service of [node.services.identify, node.services.identifyPush]) {
    service.host.protocolVersion = `/lucid/${network.toString("hex")}/1`;
  }
  await node.start();
  return node;
}

/// One request of `kind`; the bytes of the answer, or null if the peer has none for us.
export async function ask(node, network, peer, kind, request) {
  for (const until = Date.now() + REQUEST_MS; ; await new Promise((resolve) => setTimeout(resolve, BUSY_MS))) {
    const answer = await askOnce(node, peer, nameOf(network, kind), request);
    demand(answer.length >= 5 && answer.readUInt32LE(1) === answer.length - 5, `the frame of an answer to ${kind}`);
    if (answer[0] === 0) return answer.subarray(5);
    demand(answer[0] <= 2 && answer.length === 5, `the status of an answer to ${kind}`);
    if (answer[0] === 2) return null;
    demand(Date.now() < until, `${peer} is too busy for ${kind}`);
  }
}

async function askOnce(node, peer, protocol, request) {
  const signal = AbortSignal.timeout(REQUEST_MS);
  const stream = await node.dialProtocol(peer, protocol, { signal });
  signal.addEventListener("abort", () => stream.abort(new Error(`${peer} does not answer ${protocol}`)));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(request.length);
  if (!stream.send(Buffer.concat([length, request]))) await stream.onDrain({ signal });
  await stream.close({ signal });
  let answer = Buffer.alloc(0);
  for await (const chunk of stream) {
    answer = Buffer.concat([answer, chunk.subarray()]);
    if (answer.length > MAX_ANSWER) stream.abort(new Error(`the length of an answer to ${protocol}`));
  }
  return answer;
}
