// The page as a person uses it: a real Chromium, a real node, storage that is cleared, a node that dies.
//
// PERENNIS_BIN: the binary `perennis`, with the page built into it. `cargo xtask browser` sets it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { CHROMIUM } from "./chromium.mjs";

const PASSPHRASE = "correct horse battery staple";
const KNOWN_DID = "did:key:z6MkqbYdXMHUZSYSC7yfSP67LeKnMMNTNsT5U66YHbwb67f6";
const KNOWN_NAME = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";

let scratch;
before(async () => { scratch = await mkdtemp(join(tmpdir(), "perennis-page-")); });
// What a test that failed has left open would keep the run from ending.
const left = [];
after(async () => {
  for (const end of left) await end();
  await rm(scratch, { recursive: true, force: true });
});

async function startNode(dir, listen = "127.0.0.1:0") {
  const node = spawn(process.env.PERENNIS_BIN, [
    "--json", "node", "run", "--data", join(scratch, dir), "--listen", listen, "--admin-listen", "127.0.0.1:0",
    // Nothing outside of this machine is dialled or listened to.
    "--bootstrap", "none", "--p2p-listen", "/ip4/127.0.0.1/tcp/0",
  ], { stdio: ["ignore", "pipe", "inherit"] });
  left.push(() => node.kill("SIGKILL"));
  const [line] = await once(createInterface({ input: node.stdout }), "line");
  const { event, http } = JSON.parse(line);
  assert.equal(event, "ready");
  return { http, stop: async (signal) => { node.kill(signal); await once(node, "exit"); } };
}

async function openBrowser(profile, node) {
  const context = await chromium.launchPersistentContext(join(scratch, profile), {
    ...CHROMIUM,
  });
  left.push(() => context.close().catch(() => {}));
  const page = context.pages()[0] ?? await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.goto(`${node.http}/page/`);
  await status(page, "Ready.");
  return { page, faults, close: () => context.close() };
}

const status = (page, text) => page.locator("#status", { hasText: text }).waitFor({ timeout: 60_000 });

async function openIdentity(page) {
  await page.fill("#passphrase", PASSPHRASE);
  await page.selectOption("#profile", "v1");
  await page.click("#identity-form button[type=submit]");
  await status(page, "Identity open.");
}

async function addLabel(page, handle, label, note = "", { negated = false, expires = "" } = {}) {
  await page.fill("#handle", handle);
  await page.fill("#label", label);
  await page.fill("#note", note);
  await page.setChecked("#negated", negated);
  await page.fill("#expires", expires);
  await page.click("#add");
  await status(page, "Kept in this browser.");
}

test("a passphrase that could be guessed makes no new identity", async () => {
  const node = await startNode("node-weak");
  const { page, faults, close } = await openBrowser("weak", node);
  await page.fill("#passphrase", "1234567890123456789");
  await page.selectOption("#profile", "v2");
  await page.click("#identity-form button[type=submit]");
  await status(page, "could be guessed");
  assert.ok(await page.isHidden("#identity"));
  // Whoever has it already has it.
  await page.setChecked("#exists", true);
  await page.click("#identity-form button[type=submit]");
  await status(page, "Identity open.");
  assert.deepEqual(faults, []);
  await close();
  await node.stop("SIGTERM");
});

const rows = (page) => page.locator("#labels tr").allInnerTexts();

// sha2-256 CIDv1 in base32: the digest is its last 32 bytes.
function digestOf(cid) {
  let bits = "";
  for (const letter of cid.slice(1)) bits += "abcdefghijklmnopqrstuvwxyz234567".indexOf(letter).toString(2).padStart(5, "0");
  const bytes = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  return bytes.subarray(-32).toString("hex");
}

test("label, reload, publish, lose everything, restore", async () => {
  const node = await startNode("node-story");
  const first = await openBrowser("first", node);
  const { page } = first;

  await openIdentity(page);
  assert.equal(await page.innerText("#did"), KNOWN_DID);
  assert.equal(await page.innerText("#name"), KNOWN_NAME);

  await addLabel(page, "@Alice", "friend", "met in Prague");
  await addLabel(page, "@spam_bot", "spam", "", { negated: true, expires: "2035-01-31" });
  assert.match(await page.innerText("#staged"), /2 changes/);
  await addLabel(page, "@spam_bot", "spam");
  assert.match(await page.innerText("#staged"), /2 changes/, "what is not named stays as it is");
  await addLabel(page, "@oops", "spam");
  await page.click("#undo");
  await status(page, "Taken back.");

  // What was staged survives the tab.
  await page.reload();
  await status(page, "Ready.");
  await openIdentity(page);
  assert.equal((await rows(page)).length, 2);
  assert.match(await page.innerText("#staged"), /2 changes/);

  await page.click("#publish");
  await status(page, "Published");
  const head = await page.innerText("#head");
  assert.match(await page.innerText("#nodes"), /✓/);
  assert.match(await page.innerText("#staged"), /Nothing/);

  const raw = await fetch(`${node.http}/ipfs/${head}?format=raw`);
  assert.equal(raw.status, 200);
  assert.equal(createHash("sha256").update(Buffer.from(await raw.arrayBuffer())).digest("hex"), digestOf(head));

  await page.click("#resolve");
  await status(page, "Resolved");
  const resolved = JSON.parse(await page.innerText("#resolved"));
  assert.equal(resolved.head, head);
  assert.deepEqual(resolved.labels.map(({ handle }) => handle.toLowerCase()).sort(), ["alice", "spam_bot"]);
  assert.deepEqual(first.faults, []);
  await first.close();

  // Another device with nothing but the passphrase.
  const second = await openBrowser("second", node);
  await openIdentity(second.page);
  assert.equal((await rows(second.page)).length, 0);
  await second.page.click("#restore");
  await status(second.page, "Restored");
  const restored = (await rows(second.page)).join("\n");
  assert.match(restored, /@Alice\s+friend\s+met in Prague/i);
  assert.match(restored, /@spam_bot\s+not spam\s+2035-02-01/);
  assert.deepEqual(second.faults, []);
  await second.close();
  await node.stop("SIGTERM");
});

test("a node that is gone costs nothing", async () => {
  const node = await startNode("node-gone");
  const browser = await openBrowser("third", node);
  const { page } = browser;
  await openIdentity(page);
  await addLabel(page, "@carol", "colleague");
  await node.stop("SIGKILL");

  await page.click("#publish");
  await status(page, "Trying again may help.");
  assert.equal((await rows(page)).length, 1);

  const again = await startNode("node-gone", new URL(node.http).host);
  await page.click("#publish");
  await status(page, "Published");
  assert.match(await page.innerText("#nodes"), /✓/);
  await browser.close();
  await again.stop("SIGTERM");
});

test("a handle that X would refuse is refused with the reason", async () => {
  const node = await startNode("node-refused");
  const browser = await openBrowser("fourth", node);
  await openIdentity(browser.page);
  await browser.page.fill("#handle", "not a handle");
  await browser.page.fill("#label", "spam");
  await browser.page.click("#add");
  await browser.page.locator("#status.bad", { hasText: "handle" }).waitFor();
  assert.equal((await rows(browser.page)).length, 0);
  await browser.close();
  await node.stop("SIGTERM");
});

test("a long list is shown in pages, to its last row", async () => {
  const node = await startNode("node-long");
  const home = join(scratch, "home-long");
  const files = { phrase: join(scratch, "long-phrase"), labels: join(scratch, "long.csv") };
  await writeFile(files.phrase, PASSPHRASE);
  const handles = Array.from({ length: 450 }, (_, index) => `h${String(index).padStart(3, "0")}`);
  await writeFile(files.labels, `handle,label\n${handles.map((handle) => `@${handle},spam\n`).join("")}`);
  const perennis = async (...args) => {
    const done = spawn(process.env.PERENNIS_BIN, ["--home", home, ...args], { stdio: ["ignore", "ignore", "inherit"] });
    assert.deepEqual(await once(done, "exit"), [0, null], args.join(" "));
  };
  await perennis("id", "new", "--profile", "v1", "--allow-weak", "--passphrase-file", files.phrase);
  await perennis("label", "import", files.labels);
  await perennis("publish", "--node", node.http, "--passphrase-file", files.phrase);

  const browser = await openBrowser("long", node);
  const { page } = browser;
  await openIdentity(page);
  await page.click("#restore");
  await status(page, "Restored");
  const shown = [];
  for (;;) {
    const names = (await rows(page)).map((row) => row.split(/\s+/)[0].slice(1));
    shown.push(...names);
    if (await page.isDisabled("#next")) break;
    await page.click("#next");
    await status(page, "The next page.");
    // The button was enabled, so there is another page; it has been drawn when the first row has changed.
    await page.locator("#labels tr", { hasText: handles[shown.length] }).waitFor();
  }
  assert.deepEqual(shown, handles);
  assert.deepEqual(browser.faults, []);
  await browser.close();
  await node.stop("SIGTERM");
});
