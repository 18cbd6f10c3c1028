// Creates and validates records with the JavaScript library; one JSON line per figure, as our own programs print them.
import { generateKeyPair } from "@libp2p/crypto/keys";
import { createIPNSRecord, marshalIPNSRecord, multihashToIPNSRoutingKey } from "ipns";
import { ipnsValidator } from "ipns/validator";

const LIFETIME_MS = 90 * 24 * 3600 * 1000;
const VALUE = "/ipfs/bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const SECONDS = Number(process.env.SECONDS ?? 3);

const key = await generateKeyPair("Ed25519");
const routingKey = multihashToIPNSRoutingKey(key.publicKey.toMultihash());
const record = marshalIPNSRecord(await createIPNSRecord(key, VALUE, 1n, LIFETIME_MS));

async function perSecond(work) {
  for (let i = 0; i < 200; i++) await work(i);
  const start = performance.now();
  let done = 0;
  while (performance.now() - start < SECONDS * 1000) {
    for (let i = 0; i < 50; i++) await work(done++);
  }
  return done / ((performance.now() - start) / 1000);
}

const say = (name, value, unit) => console.log(JSON.stringify({ name, value, unit }));
say("ipns/create", await perSecond(async (i) => marshalIPNSRecord(await createIPNSRecord(key, VALUE, BigInt(i), LIFETIME_MS))), "records/s");
say("ipns/validate", await perSecond(() => ipnsValidator(routingKey, record)), "records/s");
say("ipns/size", record.length, "bytes");
