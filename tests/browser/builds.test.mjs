// The package itself, without a node: both builds as they are shipped, each way of loading them, and how long they
// take to derive an identity.
//
// `cargo xtask browser` builds the package and runs this.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { CHROMIUM } from "./chromium.mjs";

const PACKAGE = new URL("../../extension-demo/page/pkg/", import.meta.url);
const PASSPHRASE = "correct horse battery staple";
const KNOWN_DID = "did:key:z6MkqbYdXMHUZSYSC7yfSP67LeKnMMNTNsT5U66YHbwb67f6";
const TYPES = { js: "text/javascript", wasm: "application/wasm", html: "text/html" };

let browser, server, origin;
const fetched = [];

before(async () => {
  server = createServer(async (request, response) => {
    const name = request.url.split("?")[0].slice(1) || "index.html";
    const content = name === "index.html" ? "<!doctype html>" : await readFile(new URL(name, PACKAGE)).catch(() => null);
    if (name.endsWith(".wasm")) fetched.push(name);
    const type = request.url.endsWith("?untyped") ? "application/octet-stream" : TYPES[name.split(".").pop()];
    response.writeHead(content === null ? 404 : 200, { "Content-Type": type ?? "text/plain" });
    response.end(content ?? "nothing here");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${server.address().port}`;
  browser = await chromium.launch(CHROMIUM);
});
after(async () => {
  await browser?.close();
  server?.close();
});

// Runs a function in a page of its own, so that nothing of the package is loaded yet.
async function inPage(work, argument, prepare = async () => {}) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await prepare(page);
    await page.goto(origin);
    return await page.evaluate(work, argument);
  } finally {
    await context.close();
  }
}

test("the build with SIMD is chosen here, and only it is fetched", async () => {
  fetched.length = 0;
  const loaded = await inPage(async () => {
    const sdk = await import("/index.js");
    const sources = { simd: "/perennis_simd_bg.wasm", plain: () => fetch("/perennis_plain_bg.wasm") };
    const before = sdk.Client;
    const both = await Promise.all([sdk.default(sources), sdk.default(sources)]);
    return { simd: sdk.supportsSimd(), both, before: typeof before, after: typeof sdk.Client };
  });
  assert.deepEqual(loaded, { simd: true, both: [{ build: "simd" }, { build: "simd" }], before: "undefined", after: "function" });
  assert.deepEqual(fetched, ["perennis_simd_bg.wasm"]);
});

for (const build of ["simd", "plain"]) {
  test(`the build ${build} derives the identity that exists already`, async (context) => {
    const { did, millis } = await inPage(async ({ build, passphrase }) => {
      const { default: init, ...before } = await import("/index.js");
      const loaded = await init({ [build]: `/perennis_${build}_bg.wasm` });
      if (loaded.build !== build) throw new Error(`loaded ${loaded.build}`);
      const { Identity } = await import("/index.js");
      const times = [];
      let did;
      // The first calls run what the browser has compiled in haste.
      for (let round = 0; round < 6; round += 1) {
        const start = performance.now();
        const identity = Identity.derive(passphrase, { profile: "v1" });
        times.push(performance.now() - start);
        did = identity.did;
        identity.free();
      }
      return { did, millis: Math.round(Math.min(...times)) };
    }, { build, passphrase: PASSPHRASE });
    assert.equal(did, KNOWN_DID);
    context.diagnostic(`scrypt of profile v1, build ${build}: ${millis} ms`);
  });

  for (const kind of ["bytes", "url", "response", "untyped", "module", "function"]) {
    test(`init takes the build ${build} as ${kind}`, async () => {
      const loaded = await inPage(async ({ build, kind }) => {
        const { default: init } = await import("/index.js");
        const path = `/perennis_${build}_bg.wasm`;
        const bytes = async () => (await fetch(path)).arrayBuffer();
        const sources = {
          bytes: async () => new Uint8Array(await bytes()),
          url: async () => new URL(path, location.href),
          response: () => fetch(path),
          untyped: () => fetch(`${path}?untyped`),
          module: async () => WebAssembly.compile(await bytes()),
          function: async () => () => bytes(),
        };
        return init(await sources[kind]());
      }, { build, kind });
      assert.deepEqual(loaded, { build });
    });
  }
}

test("what is no module is refused with the reason, and init may be called again", async () => {
  const told = await inPage(async () => {
    const { default: init } = await import("/index.js");
    const reason = (source) => init(source).then(() => "loaded", (error) => error.message);
    const foreign = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
    const reasons = [await reason(), await reason(7), await reason("/no-such.wasm"), await reason(foreign)];
    return { reasons, then: await init({ plain: "/perennis_plain_bg.wasm" }) };
  });
  assert.match(told.reasons[0], /init\(\) takes/);
  assert.match(told.reasons[1], /init\(\) takes/);
  assert.match(told.reasons[2], /no-such\.wasm answered 404/);
  assert.match(told.reasons[3], /no module of this version/);
  assert.deepEqual(told.then, { build: "plain" });
});

test("the backup repeats itself until it is stopped", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(origin);
  await page.evaluate(async (passphrase) => {
    const sdk = await import("/index.js");
    await sdk.default({ simd: "/perennis_simd_bg.wasm" });
    const identity = sdk.Identity.derive(passphrase, { profile: "v1" });
    window.client = await sdk.Client.open({ database: "backup" });
    await window.client.adopt(identity);
    window.told = [];
  }, PASSPHRASE);
  // From here on the page's timers move only when they are told to.
  await page.clock.install();
  const refused = await page.evaluate(() => {
    try { window.client.startBackup(10); } catch ({ code }) { return code; }
  });
  assert.equal(refused, "invalid_argument");
  await page.evaluate(() => window.client.startBackup(60_000, (error, check) => window.told.push({ error, check })));
  const steps = async (count) => {
    await page.clock.runFor(60_000);
    // The store answers in its own time, which no clock of the page's moves.
    for (let round = 0; round < 2_000; round += 1) {
      const told = await page.evaluate(() => window.told);
      if (told.length >= count) return told;
    }
    throw new Error(`step ${count} was not made`);
  };
  for (const count of [1, 2]) {
    const told = await steps(count);
    assert.equal(told.length, count);
    assert.deepEqual(told[count - 1], { error: null, check: { blocks: 0, bytes: 0, repaired: 0, lost: [] } });
  }
  await page.evaluate(() => window.client.stopBackup());
  await page.clock.runFor(600_000);
  assert.equal(await page.evaluate(() => window.told.length), 2);
  await context.close();
});
