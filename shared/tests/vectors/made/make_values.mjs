// Writes values.json: values in DAG-CBOR, DAG-JSON and DAG-PB as the libraries of npm write them, and bytes that they refuse.
//
//     npm ci --ignore-scripts && npm run make
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

import * as dagCbor from "@ipld/dag-cbor";
import * as dagJson from "@ipld/dag-json";
import * as dagPb from "@ipld/dag-pb";
import { base36 } from "multiformats/bases/base36";
import { CID } from "multiformats/cid";
import { create as digestOf } from "multiformats/hashes/digest";

import { bytesOf, hex, write } from "./write.mjs";

const sha256 = (bytes) => digestOf(0x12, createHash("sha256").update(bytes).digest());
const cidOf = (codec, bytes) => CID.createV1(codec.code, sha256(bytes)).toString();
const repeated = (text, count) => text.repeat(count);

const values = [];
const seen = new Set();

// A value in both codecs; what DAG-PB can say, in it as well.
function add(what, value) {
  assert.ok(!seen.has(what), what);
  seen.add(what);
  const [cbor, json] = [dagCbor.encode(value), dagJson.encode(value)];
  assert.deepEqual(dagCbor.encode(dagCbor.decode(cbor)), cbor, what);
  assert.deepEqual(dagJson.encode(dagJson.decode(json)), json, what);
  const forms = { "dag-cbor": [cidOf(dagCbor, cbor), hex(cbor)], "dag-json": [cidOf(dagJson, json), Buffer.from(json).toString()] };
  values.push({ what, ...forms });
}

function addNode(what, { Data, Links = [] }) {
  const node = dagPb.prepare({ ...(Data === undefined ? {} : { Data }), Links });
  const bytes = dagPb.encode(node);
  add(`DAG-PB: ${what}`, dagPb.decode(bytes));
  values.at(-1)["dag-pb"] = [cidOf(dagPb, bytes), hex(bytes)];
}

add("null", null);
add("true", true);
add("false", false);

const INTEGERS = [0n, 1n, 10n, 23n, 24n, 25n, 100n, 255n, 256n, 1000n, 65535n, 65536n, 1000000n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
for (const integer of INTEGERS) {
  add(`integer ${integer}`, integer);
  add(`integer ${-1n - integer}`, -1n - integer);
}
const FLOATS = [0.1, 0.5, 1.5, 1 / 3, Math.PI, 1e-7, 1.25e-9, 123456789.125, 4503599627370495.5, 5e-324, 2.2250738585072014e-308, 1e21, 1.5e300, Number.MAX_VALUE, 3.4028234663852886e38, 0.000001, 16100.9888916015625, 2 ** -25 + 1e5, 9007199254740992.5 / 8];
for (const float of FLOATS) {
  add(`float ${float}`, float);
  add(`float ${-float}`, -float);
}

const TEXTS = {
  "empty": "",
  "of a word": "word",
  "with quotes and backslashes": "a \"quoted\" \\ word /",
  "of control characters": "\0\x01\b\t\n\v\f\r\x1b\x1f",
  "of characters that other formats escape": "\x7f\x80\x9f\u00a0\u00ad\u2028\u2029\ufeff</script>&'",
  "of Latin letters": "na\u00efve caf\u00e9 \u00dcmlaut \u0141\u00f3d\u017a",
  "decomposed": "cafe\u0301 A\u030angstrom",
  "of other scripts": "\u5bc6\u7801 \u043f\u0430\u0440\u043e\u043b\u044c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
  "above the first plane": "\u{1f469}\u200d\u{1f680} \u{10348} \u{10ffff}",
  "that looks like an escape": "\\u0041 \\n %00",
};
for (const [what, text] of Object.entries(TEXTS)) add(`text ${what}`, text);
for (const length of [23, 24, 255, 256, 300, 4000]) add(`text of ${length} bytes`, repeated("0123456789", 400).slice(0, length));
for (const length of [0, 1, 2, 3, 23, 24, 255, 256, 4000]) add(`${length} bytes`, bytesOf(length, length));

const digest = sha256(Buffer.from("perennis"));
const LINKS = {
  "CIDv0": CID.createV0(digest),
  "CIDv1, DAG-PB": CID.createV1(0x70, digest),
  "CIDv1, raw": CID.createV1(0x55, digest),
  "CIDv1, DAG-CBOR": CID.createV1(0x71, digest),
  "CIDv1, DAG-JSON": CID.createV1(0x0129, digest),
  "CIDv1, a codec of three bytes": CID.createV1(0x300539, digest),
  "sha2-512": CID.createV1(0x55, digestOf(0x13, createHash("sha512").update("perennis").digest())),
  "identity": CID.createV1(0x55, digestOf(0, Buffer.from("perennis"))),
  "empty identity": CID.createV1(0x55, digestOf(0, Buffer.alloc(0))),
  "a name of IPNS": CID.parse("k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w", base36),
};
for (const [what, link] of Object.entries(LINKS)) add(`link: ${what}`, link);

add("empty list", []);
add("empty map", {});
for (const length of [1, 23, 24, 255, 256]) add(`list of ${length}`, Array.from({ length }, (_, index) => index));
add("list of everything", [null, true, 0, -1, 2n ** 60n, 0.5, "text", bytesOf(5, 1), LINKS.CIDv0, [], {}, [[]], [{}]]);
add("map of everything", { nothing: null, no: false, whole: 7, less: -7, part: -0.25, text: "t", bytes: bytesOf(5, 2), link: LINKS["CIDv1, raw"], list: [1, [2]], map: { map: { map: {} } } });

// Keys stand by their length first in DAG-CBOR, and by their bytes in DAG-JSON.
add("keys of several lengths", Object.fromEntries(["b", "aa", "a", "aaa", "", "ab", "z", "zz", "aab", "10", "9", "1"].map((key, index) => [key, index])));
// None of U+E000 to U+FFFF beside one of the other planes: the library compares halves of surrogates, the specification bytes.
add("keys beyond ASCII", Object.fromEntries(["z", "\u00e9", "e\u0301", "\u{1f511}", "\ud7ff", "\u00ff", "~", "\u0800", "\u{10000}"].map((key, index) => [key, index])));
add("keys that want escapes", Object.fromEntries(["\"", "\\", "\n", "\0", " ", "a/b", "\x7f", "\u2028"].map((key, index) => [key, index])));
add("keys of 23, 24, 255 and 256 bytes", Object.fromEntries([256, 24, 255, 23].map((length) => [repeated("k", length), length])));
add("keys that objects of JavaScript have", JSON.parse('{"__proto__":1,"constructor":2,"toString":3,"length":4}'));
add("map of 300 keys", Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`${(index * 7919) % 300}-${repeated("x", index % 7)}`, index])));

add("60 lists in each other", Array.from({ length: 60 }).reduce((inner) => [inner], 1));
add("60 maps in each other", Array.from({ length: 60 }).reduce((inner) => ({ m: inner }), "end"));
add("list of 300 links", Array.from({ length: 300 }, (_, index) => CID.createV1(0x71, sha256(Buffer.from([index >> 8, index])))));
add("list of 200 maps", Array.from({ length: 200 }, (_, index) => ({ id: index * 1000003, on: index % 3 === 0, at: index / 8 + 0.0625 })));

// A tree out of a seed: what nobody would think of.
function drawn(random, depth) {
  const kind = random() % (depth > 0 ? 9 : 7);
  switch (kind) {
    case 0: return random() % 2 === 0;
    case 1: return BigInt(random()) * BigInt(random()) - 2n ** 61n;
    case 2: return random() / 4096 + 2 ** -13;
    case 3: return Array.from({ length: random() % 12 }, () => String.fromCodePoint(random() % 0xd7ff)).join("");
    case 4: return bytesOf(random() % 40, random());
    case 5: return Object.values(LINKS)[random() % 8];
    case 6: return null;
    case 7: return Array.from({ length: random() % 6 }, () => drawn(random, depth - 1));
    default: return Object.fromEntries(Array.from({ length: random() % 6 }, () => [`k${random().toString(36)}`, drawn(random, depth - 1)]));
  }
}
for (let seed = 1; seed <= 20; seed += 1) {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return ((state >>> 3) ^ (state >>> 17)) >>> 0;
  };
  add(`drawn ${seed}`, Array.from({ length: 5 }, () => drawn(random, 5)));
}

const link = (Hash, Name, Tsize) => ({ Hash, ...(Name === undefined ? {} : { Name }), ...(Tsize === undefined ? {} : { Tsize }) });
const [v0, raw] = [LINKS.CIDv0, LINKS["CIDv1, raw"]];
addNode("nothing", {});
addNode("empty data", { Data: new Uint8Array(0) });
addNode("data", { Data: bytesOf(300, 3) });
addNode("a directory of UnixFS", { Data: Uint8Array.of(8, 1), Links: [link(raw, "a.txt", 5), link(v0, "b", 1234567)] });
addNode("a link alone", { Links: [link(v0)] });
addNode("a link with an empty name", { Links: [link(raw, "", 0)] });
addNode("names beyond ASCII", { Links: [link(raw, "caf\u00e9", 1), link(raw, "\u{1f511}", 2), link(raw, "~", 3)] });
addNode("a size above 2^32", { Links: [link(v0, "large", 2 ** 40 + 1)] });
addNode("the highest size of JavaScript", { Links: [link(v0, "larger", Number.MAX_SAFE_INTEGER)] });
addNode("links of one name", { Links: [link(raw, "same", 2), link(v0, "same", 1)] });
addNode("174 links without names", { Data: Uint8Array.of(8, 2), Links: Array.from({ length: 174 }, (_, index) => link(CID.createV1(0x55, sha256(Buffer.from([index]))), "", 262144)) });

// What the libraries refuse to read.
const refused = [];
function refuse(codec, library, what, bytes) {
  assert.throws(() => library.decode(bytes), undefined, `${codec}: ${what} is read`);
  refused.push({ what, codec, bytes: hex(bytes) });
}
for (const [what, text] of Object.entries({
  "nothing": "",
  "two values": "0101",
  "a cut list": "8201",
  "a cut text": "6361",
  "an integer with a byte too many": "1817",
  "an integer of eight bytes that fits four": "1b00000000ffffffff",
  "a length with a byte too many": "780161",
  "a list without a length": "9f01ff",
  "a text without a length": "7f6161ff",
  "a map without a length": "bf616101ff",
  "a key twice": "a2616101616102",
  "a key that is a number": "a10102",
  "not a number": "fb7ff8000000000000",
  "infinity": "fb7ff0000000000000",
  "less infinity": "fbfff0000000000000",
  "a date": "c074323031332d30332d32315432303a30343a30305a",
  "a large number by a tag": "c249010000000000000000",
  "a link that is a text": "d82a6161",
  "a link without its zero": `d82a5824${hex(raw.bytes)}`,
  "a link of no bytes": "d82a4100",
  "a break alone": "ff",
})) refuse("dag-cbor", dagCbor, what, Buffer.from(text, "hex"));
for (const [what, text] of Object.entries({
  "nothing": "",
  "two values": "1 2",
  "a cut list": "[1",
  "a cut map": "{\"a\":1",
  "a key twice": "{\"a\":1,\"a\":2}",
  "a key without quotes": "{a:1}",
  "a text without an end": "\"a",
  "a line end in a text": "\"a\nb\"",
  "an escape that is none": "\"\\x41\"",
  "a comma at the end": "[1,]",
  "a number that begins with a zero": "01",
  "a number that begins with a point": ".5",
  "not a number": "NaN",
  "infinity": "Infinity",
  "a link that is none": "{\"/\":\"nonsense\"}",
  "bytes that are no base64": "{\"/\":{\"bytes\":\"*\"}}",
})) refuse("dag-json", dagJson, what, Buffer.from(text));
for (const [what, text] of Object.entries({
  "a field that is none": "1a0161",
  "data twice": "0a01610a0162",
  "a link without a hash": "1200",
  "a cut link": "12240a22",
})) refuse("dag-pb", dagPb, what, Buffer.from(text, "hex"));

write("values.json", "make_values.mjs", { values, refused });
