// A Helia node that is driven from outside: one JSON request per line on stdin, one JSON answer per line on stdout.
// It speaks with nobody it was not told of.

import { createReadStream, createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { car } from '@helia/car'
import { IPNSEntry, ipns, pubSubIPNSRouting } from '@helia/ipns'
import { unixfs } from '@helia/unixfs'
import { CarReader } from '@ipld/car'
import { fetch } from '@libp2p/fetch'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { keychain } from '@libp2p/keychain'
import { noise } from '@libp2p/noise'
import { peerIdFromCID } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createHelia } from 'helia'
import { CID } from 'multiformats/cid'
import { multiaddr } from '@multiformats/multiaddr'

const PATIENCE = 20_000

const { dht, routers } = JSON.parse(process.argv[2])
// The network of private and loopback addresses.
const network = kadDHT({
  protocol: '/ipfs/lan/kad/1.0.0',
  clientMode: false,
  peerInfoMapper: passthroughMapper,
  allowQueryWithZeroPeers: true
})
const node = createHelia({
  http: { delegatedRouters: routers, recursiveGateways: [] },
  libp2p: {
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    peerDiscovery: [],
    services: {
      ...(dht ? { dht: network } : {}),
      fetch: fetch(),
      identify: identify(),
      keychain: keychain(),
      ping: ping(),
      pubsub: gossipsub({ allowPublishToZeroTopicPeers: true })
    }
  }
})
await node.start()
const files = unixfs(node)
const archives = car(node)
const pubsub = pubSubIPNSRouting(node)
const names = ipns(node)
// Apart from the others, so that a case shows which way a record came.
const gossiped = ipns(node, { routers: [pubsub] })
await pubsub.start?.()

const within = () => ({ signal: AbortSignal.timeout(PATIENCE) })

async function collect (stream, most = Infinity) {
  const all = []
  for await (const item of stream) {
    all.push(item)
    if (all.length >= most) break
  }
  return all
}

// Cuts a stream into pieces of one length.
const inPieces = (length) => async function * (source) {
  let rest = Buffer.alloc(0)
  for await (const part of source) {
    rest = Buffer.concat([rest, part])
    while (rest.length >= length) {
      yield rest.subarray(0, length)
      rest = rest.subarray(length)
    }
  }
  if (rest.length > 0) yield rest
}

const commands = {
  connect: async ({ address }) => {
    await node.libp2p.dial(multiaddr(address), within())
    return {}
  },

  add: async ({ file, leaf }) => {
    const pieces = leaf == null ? {} : { chunker: inPieces(leaf) }
    const root = await files.addByteStream(createReadStream(file), { rawLeaves: true, cidVersion: 1, ...pieces })
    return { root: root.toString() }
  },

  // How many bytes the file under a root has, once all its blocks are here.
  cat: async ({ root }) => {
    let bytes = 0
    const start = performance.now()
    for await (const part of files.cat(CID.parse(root), { signal: AbortSignal.timeout(120_000) })) bytes += part.byteLength
    return { bytes, ms: Math.round(performance.now() - start) }
  },

  publish: async ({ key, value, by }) => {
    const published = await (by === 'pubsub' ? gossiped : names).publish(key, CID.parse(value), within())
    return { name: published.name, record: Buffer.from(IPNSEntry.encode(published.record)).toString('hex') }
  },

  resolve: async ({ name, by }) => {
    const [result] = await collect((by === 'pubsub' ? gossiped : names).resolve(name, { nocache: true, ...within() }), 1)
    return { value: result.value }
  },

  provide: async ({ root }) => {
    await node.routing.provide(CID.parse(root), within())
    return {}
  },

  providers: async ({ root }) => {
    const found = await collect(node.routing.findProviders(CID.parse(root), within()), 1)
    return { providers: found.map(({ id }) => peerIdFromCID(id).toString()) }
  },

  importCar: async ({ file }) => {
    const reader = await CarReader.fromIterable(createReadStream(file))
    await archives.import(reader)
    return { roots: (await reader.getRoots()).map(String) }
  },

  exportCar: async ({ root, file }) => {
    await pipeline(Readable.from(archives.export(CID.parse(root), within())), createWriteStream(file))
    return {}
  }
}

console.log(JSON.stringify({
  event: 'ready',
  peerId: node.libp2p.peerId.toString(),
  address: node.libp2p.getMultiaddrs()[0].toString()
}))
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line)
  try {
    console.log(JSON.stringify({ ok: await commands[command](rest) }))
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }))
  }
}
await node.stop()
process.exit(0)
