// Writes records.json: IPNS records that the library of npm signed, and what became of them when they were changed.
//
//     npm ci --ignore-scripts && npm run make
//
// Each is judged by that library as it is written: one that it takes and we should not, or the other way round, ends the run.
// Keys come from seeds, ECDSA signs without a random number (RFC 6979) and the key of RSA stands here, so that again gives the
// same bytes. None of these keys is anybody's.
import assert from "node:assert/strict";
import { createHash, verify } from "node:crypto";

import { generateKeyPairFromSeed, privateKeyFromCryptoKeyPair, privateKeyFromRaw, publicKeyToProtobuf } from "@libp2p/crypto/keys";
import { p256 } from "@noble/curves/nist.js";
import { encode as cbor } from "cborg";
import { createIPNSRecordWithExpiration as create, marshalIPNSRecord as marshal, multihashToIPNSRoutingKey as routingKey, unmarshalIPNSRecord as unmarshal } from "ipns";
import { ipnsSelector } from "ipns/selector";
import { ipnsValidator } from "ipns/validator";
import { base36 } from "multiformats/bases/base36";
import { CID } from "multiformats/cid";
import { create as digestOf } from "multiformats/hashes/digest";

import { base64, bytesOf, write } from "./write.mjs";

const RSA = [
  "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCxhgLfrBhMCstF5WfNlAd3PWWr63WI/r6MbnkqbJdBJGAkyBsijOC8uV6bvnGh3/eygX6h",
  "2Ldb+24DgUDvqHbWLQQ15awMPCbfhMDzFsSxDu77QMscfxUgXm0thKdidD44Yb8lbfuo/AsQDeejfDfyfC9p5mK5+uCAkXjtVlm/C3S06PjBaH5ZCAmw8YC2",
  "C9Bxn65d1N5yHeA9R7JaNcxwL84zhWgmP9B4akIKSftPtPa8CJ05TGlvKgKJAvsqB+hGJytH+8GB/lub/CZXpc2FSq+RDNsoOZDh09ZhLT1AiH/OjZbXjb3s",
  "I0yRUhcdsOPdgFz7Nkg5x2mE1NPjd3WBAgMBAAECggEAAISZTNw1d5CVH3B+AiMURt9SBPd9ULWbUkki225M3k3SFd5jeaE9CUDuVTSP8+Ctoh67ixLpBUy3",
  "aV1E1nQsqVchGNwJSZF5/K9IQbdRcmmudeNGanBGnEkpPvOY+k4X9cG3gUc795YpbTn4qOT8i+2bxO6dH3E7ayWdg24D6dVAQqHQUAyyoYMPem9ZVB3P1TFa",
  "G6HuZXhF1403Ru90ewgI7rQQuTYBl8QT5GyS1Lp1/bncNN6URpIOC5i7nFSc/Bx6i96itZz0YTZhjxCgmloxJKlnpAIdZTBZcXu3CenVlRF1jmChm5UoHU3U",
  "Yus5BOgG+nPk+KeCVLHYjDbMAQKBgQDdYogUrB+qndu7q90U1DG0TbTATmrWUwb3z+Vl+AOlpIZINDHje/4zOjrgHhRZgsUhPNW+6W0Em9e4RI1aa5Jp4Nf5",
  "s8VfqGBdZPkwPZImcCRp7eA8N+0+P7EeqL72pIvWOPxtq5Aw4ks4BpkmNxsGlq6aQ8FL6ux1EpOgPNbVAQKBgQDNR9H3YrXnvcMDroqXsKGSkwpIEnUp2VR+",
  "JUNmqe2myvjaUH4qDY/8hIkeuu31Z6KvjTQ2vZrWjAHZm2aU/JRzAim0u0Dx2ryAcFBKDp19W0qtFjQKHZmkGgFn6RWYD6srfiqek16XK2C/n6yC9JSGYDxj",
  "0MV0u6hPa3MfkpYggQKBgEj1Vd9qMi1qRKX+p6dbnt3K1gyiSzdCuYMlsnX+XEVUiSR2fxJ3JHkBcbG2eAJfxFOF1vNJvjHMojUJ8oOf++qEvOh/xEYYGVnu",
  "EulBAU9FmdqHGGUAEWF4YAi4l+Z0p9j7gsUpyyUxDpTyJ7qeYnuzYOtZ9PPuAes7KgeexTYBAoGBAK0NbqPuQwspnczsx0k5TfwSmQhJBxxQajotj7RsbDu/",
  "wCnK0ZEB/fASisWtMA1BYJQ9pVbAYFedj7Gyn7fZdgu+Nwp1ETrR+zcLd6P2zi1vWHSx0wz0ByGgCq9efyXBj7sKkUM9WPB3UQg5w2RiaxMc7cv3o33U9P5+",
  "xn5HROgBAoGBANfychPCjgbGVSBF4Q0KX5KB0VdSjww51sZDuLKEZdBZpLRNzFV5ZP4l/Rn10xPDFRhmjuV0ngWgeGMZJJTJGL1kBRttNESolglF/dkJc9To",
  "LAqsKGEHV6BN6T6MlyP/ZJDGgN1THEUM/P+Db3TWB4MhKy8HHk97cBoPBc/Ntyzq",
].join("");
const END = "2123-08-14T12:00:00.000000000Z";
const VALUE = "/ipfs/bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

const nameOf = (hash) => CID.createV1(0x72, hash).toString(base36);
const sha256 = (bytes) => digestOf(0x12, createHash("sha256").update(bytes).digest());

const own = async (n) => generateKeyPairFromSeed("Ed25519", bytesOf(32, n));
const [alice, bob] = [await own(11), await own(12)];
const secp256k1 = privateKeyFromRaw(bytesOf(32, 13));
assert.equal(secp256k1.type, "secp256k1");
const rsa = await rsaKey();
const ecdsa = await ecdsaKey();
const KEYS = { Ed25519: alice, Secp256k1: secp256k1, RSA: rsa, ECDSA: ecdsa };

async function rsaKey() {
  const usages = ["sign"];
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const privateKey = await crypto.subtle.importKey("pkcs8", Buffer.from(RSA, "base64"), algorithm, true, usages);
  const { kty, n, e } = await crypto.subtle.exportKey("jwk", privateKey);
  const publicKey = await crypto.subtle.importKey("jwk", { kty, n, e }, algorithm, true, ["verify"]);
  return privateKeyFromCryptoKeyPair({ privateKey, publicKey });
}

async function ecdsaKey() {
  const secret = bytesOf(32, 14);
  const point = p256.getPublicKey(secret, false);
  const part = (bytes) => Buffer.from(bytes).toString("base64url");
  const halves = { kty: "EC", crv: "P-256", x: part(point.slice(1, 33)), y: part(point.slice(33)) };
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const pair = {
    privateKey: await crypto.subtle.importKey("jwk", { ...halves, d: part(secret) }, algorithm, true, ["sign"]),
    publicKey: await crypto.subtle.importKey("jwk", halves, algorithm, true, ["verify"]),
  };
  const key = await privateKeyFromCryptoKeyPair(pair);
  key.spki = Buffer.from(await crypto.subtle.exportKey("spki", pair.publicKey));
  key.sign = async (data) => p256.sign(data.subarray?.() ?? data, secret, { format: "der", lowS: false });
  return key;
}

const protobufOf = (key) => key.spki ? Buffer.from([0x08, 3, 0x12, key.spki.length, ...key.spki]) : publicKeyToProtobuf(key.publicKey);

// The name by the rule of all implementations: the key itself up to 42 bytes, its hash above.
function hashOf(key) {
  const protobuf = protobufOf(key);
  return protobuf.length <= 42 ? digestOf(0, protobuf) : sha256(protobuf);
}

const signedBytes = (data) => Buffer.concat([Buffer.from("ipns-signature:"), data]);

const records = [];

async function verdictOf(key, hash, bytes) {
  // The library has keys and signatures of ECDSA in another form than libp2p's specification; OpenSSL is asked.
  if (key.type === "ECDSA") {
    const { data, signatureV2 } = unmarshal(bytes);
    const publicKey = { key: key.spki, format: "der", type: "spki" };
    assert.ok(verify("sha256", signedBytes(data), publicKey, signatureV2), "OpenSSL refuses the signature");
    return;
  }
  return ipnsValidator(routingKey(hash), bytes);
}

// Adds a record, with what a reader must say of it: its fields, or the code of a refusal.
async function add(what, key, bytes, refused = null, hash = hashOf(key)) {
  const told = await verdictOf(key, hash, bytes).then(() => null, (error) => error.message || error.name);
  assert.equal(told !== null, refused !== null, `${what}: the library says ${told}`);
  const vector = { what, name: nameOf(hash), key: key.type, record: base64(bytes) };
  if (refused !== null) return records.push({ ...vector, refused });
  const { value, sequence, validity, ttl, signatureV1 } = unmarshal(bytes);
  records.push({ ...vector, v1: signatureV1 !== undefined, value, sequence: String(sequence), validity, ttl: String(ttl ?? 0n) });
}

const v1v2 = (key, { value = VALUE, sequence = 1n, end = END, ttl } = {}) =>
  create(key, value, sequence, end, { v1Compatible: true, ...(ttl === undefined ? {} : { ttlNs: ttl }) });
const v2 = (key, { value = VALUE, sequence = 1n, end = END, ttl } = {}) =>
  create(key, value, sequence, end, { v1Compatible: false, ...(ttl === undefined ? {} : { ttlNs: ttl }) });
const flipped = (bytes, at = bytes.length >> 1) => bytes.map((byte, index) => index === at ? byte ^ 1 : byte);

// What a key of any kind signs.
for (const [kind, key] of Object.entries(KEYS)) {
  for (const [versions, made] of [["V1 and V2", await v1v2(key)], ["V2 only", await v2(key)]]) {
    // The library sends along the key of RSA, which its name does not hold; that of ECDSA neither.
    if (kind === "ECDSA") made.pubKey = protobufOf(key);
    await add(`${kind}, ${versions}`, key, marshal(made));
    await add(`${kind}, ${versions}, a flipped bit in the signature`, key, marshal({ ...made, signatureV2: flipped(made.signatureV2) }), "bad_signature");
  }
}

// Fields at their edges.
const bobs = nameOf(hashOf(bob));
for (const [what, fields] of [
  ["a value with a path", { value: "/ipfs/QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR/wiki/Index of \u00e4 & b.html" }],
  ["a value that is another name", { value: `/ipns/${bobs}` }],
  ["a value that is a domain", { value: "/ipns/docs.ipfs.tech/concepts" }],
  ["a long value", { value: `${VALUE}/${"long/".repeat(800)}end` }],
  ["sequence 0", { sequence: 0n }],
  ["a sequence above 2^53", { sequence: 9007199254740993n }],
  ["the highest sequence", { sequence: 18446744073709551615n }],
  ["TTL 0", { ttl: 0n }],
  ["a TTL of a year", { ttl: 31536000000000000n }],
  ["an end to the nanosecond", { end: "2099-12-31T23:59:59.123456789Z" }],
]) {
  await add(`V2 only, ${what}`, alice, marshal(await v2(alice, fields)));
  if (!what.startsWith("a long")) await add(`V1 and V2, ${what}`, alice, marshal(await v1v2(alice, fields)));
}

// What is not signed may be broken or added to.
const both = await v1v2(alice);
const one = await v2(alice);
await add("a broken V1 signature", alice, marshal({ ...both, signatureV1: flipped(both.signatureV1) }));
await add("an unknown field behind the record", alice, Buffer.concat([marshal(one), Buffer.from([0xfa, 0x01, 2, 1, 2])]));
await add("the name's own key beside it", alice, marshal({ ...one, pubKey: protobufOf(alice) }));
const extended = { TTL: 1n, Value: Buffer.from(VALUE), Sequence: 7n, Validity: Buffer.from(END), ValidityType: 0n, "_x/note": "signed too" };
await add("signed data with a field of somebody's own", alice, marshal(await signed(alice, extended)));

async function signed(key, fields) {
  const data = cbor(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1))));
  const signatureV2 = await key.sign(signedBytes(data));
  return { ...one, signatureV2, data };
}

// What must be refused.
const signature = one.signatureV2;
await add("signed by somebody else", alice, marshal(await v2(bob)), "bad_signature");
await add("a value that was exchanged", alice, marshal({ ...one, data: swapped(one.data, "gdyrzt5", "gdyrzt6") }), "bad_signature");
await add("no signature at all", alice, marshal({ ...one, signatureV2: new Uint8Array(0) }), "bad_signature");
await add("a signature cut short", alice, marshal({ ...one, signatureV2: signature.slice(0, 63) }), "bad_signature");
for (const [field, wrong] of [["value", { value: `${VALUE}x` }], ["sequence", { sequence: 2n }], ["ttl", { ttl: 1n }], ["validity", { validity: "2124-08-14T12:00:00.000000000Z" }]]) {
  await add(`a V1 ${field} that the signed data do not have`, alice, marshal({ ...both, ...wrong }), "field_mismatch");
}
await add("V1 only", alice, marshal({ ...both, data: undefined, signatureV2: undefined }), "v1_only");
await add("ended in 2020", alice, marshal(await v2(alice, { end: "2020-01-01T00:00:00.000000000Z" })), "expired");
await add("ended in 2020, V1 and V2", alice, marshal(await v1v2(alice, { end: "2020-01-01T00:00:00.000000000Z" })), "expired");
await add("the key of somebody else beside it", alice, marshal({ ...one, pubKey: protobufOf(bob) }), "wrong_key");
await add("RSA without its key", rsa, marshal({ ...await v2(rsa), pubKey: undefined }), "missing_key");
await add("RSA with the key of somebody else", rsa, marshal({ ...await v2(rsa), pubKey: protobufOf(bob) }), "wrong_key");
await add("above 10 KiB", alice, marshal(await v2(alice, { value: `${VALUE}/${"x".repeat(10_240)}` })), "too_large");
await add("cut in the middle", alice, marshal(one).slice(0, marshal(one).length >> 1), "malformed");
await add("an end that is no time", alice, marshal(await signed(alice, { ...extended, Validity: Buffer.from("tomorrow") })), "malformed");
await add("data that are no CBOR", alice, marshal({ ...one, data: Buffer.from("data") }), "malformed");
await add("text", alice, Buffer.from("not a record"), "malformed");

function swapped(data, from, to) {
  const at = Buffer.from(data).indexOf(from);
  assert.notEqual(at, -1);
  return Uint8Array.from(Buffer.concat([data.slice(0, at), Buffer.from(to), data.slice(at + from.length)]));
}

// Which of several records counts.
const selections = [];
for (const [what, made] of [
  ["the higher sequence", [await v2(alice, { sequence: 4n }), await v2(alice, { sequence: 5n }), await v2(alice, { sequence: 3n })]],
  ["the higher sequence although it ends sooner", [await v2(alice, { sequence: 5n, end: "2050-01-01T00:00:00.000000000Z" }), await v2(alice, { sequence: 4n })]],
  ["the later end of one sequence", [await v2(alice, { end: "2050-01-01T00:00:00.000000000Z" }), await v1v2(alice, { end: "2050-01-01T00:00:00.001000000Z" })]],
  ["a sequence above 2^53", [await v1v2(alice, { sequence: 9007199254740992n }), await v1v2(alice, { sequence: 9007199254740993n })]],
]) {
  const bytes = made.map(marshal);
  const best = ipnsSelector(routingKey(hashOf(alice)), bytes);
  selections.push({ what, name: nameOf(hashOf(alice)), records: bytes.map(base64), best });
}

write("records.json", "make_records.mjs", { records, selections });
