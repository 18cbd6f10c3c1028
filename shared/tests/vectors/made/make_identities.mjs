// Writes identities.json: what passphrases give under the profiles v1 and v2, and the documents of did:key.
//
//     npm ci --ignore-scripts && npm run make
//
// scrypt and HKDF are those of Node (OpenSSL), NFKD is that of V8 (ICU), keys and names come from libp2p and multiformats,
// the documents from Digital Bazaar's method. Nothing is drawn: again gives the same bytes.
import { hkdfSync, scryptSync } from "node:crypto";

import * as didKey from "@digitalbazaar/did-method-key";
import * as Ed25519Multikey from "@digitalbazaar/ed25519-multikey";
import { Ed25519VerificationKey2020 } from "@digitalbazaar/ed25519-verification-key-2020";
import { X25519KeyAgreementKey2020 } from "@digitalbazaar/x25519-key-agreement-key-2020";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { base36 } from "multiformats/bases/base36";

import { bytesOf, hex, write } from "./write.mjs";

const PASSPHRASES = [
  "a",
  "correct horse battery staple",
  "orbit velvet canyon ladder mosaic thimble",
  "  white space around  ",
  "Stra\u00dfe \u00c5ngstr\u00f6m na\u00efve",
  "\u212bngstr\u00f6m \ufb01ne \u2168 \uac01 \u1100\u1161\u11a8",
  "\u5bc6\u7801 \u043f\u0430\u0440\u043e\u043b\u044c \u0643\u0644\u0645\u0629 \u{1f511}\u{1f469}\u200d\u{1f680}",
  "tab\there, quote \" and backslash \\",
  "long ".repeat(200) + "end",
];
const ACCOUNTS = ["", "alice", " @Alice\n", "@\u00dcn\u00ef_Code", "a".repeat(60)];

async function keysOf(seed) {
  const key = await generateKeyPairFromSeed("Ed25519", seed);
  const pair = await Ed25519Multikey.generate({ seed });
  return {
    publicKey: hex(key.publicKey.raw),
    didKey: `did:key:${pair.publicKeyMultibase}`,
    name: key.publicKey.toCID().toString(base36),
    peerId: peerIdFromPrivateKey(key).toString(),
  };
}

const scrypt = (passphrase, salt, N) => scryptSync(passphrase, salt, 32, { N, r: 8, p: 1, maxmem: 256 << 20 });

async function v1(passphrase) {
  const root = scrypt(Buffer.from(passphrase), "xcom-did-v1", 2 ** 15);
  const keys = await keysOf(root);
  return { profile: "v1", passphrase, account: "", root: hex(root), didSeed: hex(root), ipnsSeed: hex(root), ...keys, did: keys.didKey };
}

async function v2(passphrase, account) {
  const spoken = account.trim().replace(/^@/, "").normalize("NFKD").replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const bytes = Buffer.from(spoken);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  const salt = Buffer.concat([Buffer.from("xcom-did-v1\0"), length, bytes]);
  const root = scrypt(Buffer.from(passphrase.normalize("NFKD")), salt, 2 ** 17);
  const secret = (label) => new Uint8Array(hkdfSync("sha256", root, "perennis/identity/v2", `${label}/0`, 32));
  const [did, ipns] = [secret("did"), secret("ipns")];
  const { publicKey, didKey } = await keysOf(did);
  const { name, peerId } = await keysOf(ipns);
  const names = { publicKey, didKey, name, peerId, did: `did:ipns:${name}` };
  return { profile: "v2", passphrase, account, root: hex(root), didSeed: hex(did), ipnsSeed: hex(ipns), ...names };
}

async function document(seed) {
  const pair = await Ed25519Multikey.generate({ seed });
  const driver = didKey.driver();
  driver.use({ multibaseMultikeyHeader: "z6Mk", fromMultibase: Ed25519Multikey.from });
  const { didDocument } = await driver.fromKeyPair({ verificationKeyPair: pair });
  const older = await Ed25519VerificationKey2020.generate({ seed });
  const agreement = X25519KeyAgreementKey2020.fromEd25519VerificationKey2020({ keyPair: older });
  return { seed: hex(seed), didDocument, agreement: agreement.publicKeyMultibase };
}

const identities = [];
for (const passphrase of PASSPHRASES) identities.push(await v1(passphrase));
for (const passphrase of PASSPHRASES.slice(1, 7)) identities.push(await v2(passphrase, ""));
for (const account of ACCOUNTS.slice(1)) identities.push(await v2(PASSPHRASES[1], account));
const seeds = [new Uint8Array(32), new Uint8Array(32).fill(0xff), ...[1, 2, 3, 4, 5, 6].map((n) => bytesOf(32, n))];
const documents = [];
for (const seed of seeds) documents.push(await document(seed));
write("identities.json", "make_identities.mjs", { identities, documents });
