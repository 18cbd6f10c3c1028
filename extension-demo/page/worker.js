// Runs the SDK off the page's thread: deriving an identity takes a good part of a second, and the page
// must stay alive meanwhile. One message is one call; the answer carries the same id.
import init, { Client, Identity, generatePassphrase } from "./pkg/index.js";

// `?build=plain` or `?build=simd` loads that build whatever this browser would choose.
const wanted = new URL(self.location.href).searchParams.get("build");
const builds = ["simd", "plain"].filter((build) => wanted === null || build === wanted);
const ready = init(Object.fromEntries(
  builds.map((build) => [build, new URL(`./pkg/perennis_${build}_bg.wasm`, import.meta.url)]),
));
// A failure reaches the page with its first call, not as an unhandled rejection.
ready.catch(() => {});

let identity = null;
let client = null;

const calls = {
  ready: () => ready,
  generate: () => generatePassphrase(),
  // Each identity has a database of its own: another passphrase opens another list.
  async open({ passphrase, profile, account, exists }) {
    // Those of v1 exist all: their passphrases are what they are.
    const next = exists || profile === "v1"
      ? Identity.derive(passphrase, { profile, account })
      : Identity.create(passphrase, { account });
    const opened = await Client.open({
      database: `perennis-${next.ipnsName}`, nodes: [new URL("/", self.location.href).origin],
    });
    await opened.adopt(next);
    client?.free();
    identity?.free();
    [client, identity] = [opened, next];
    return { did: identity.did, ipnsName: identity.ipnsName };
  },
  list: (place) => client.labels({ limit: 200, ...place }),
  staged: () => client.staged(),
  add: ({ handle, label, ...parts }) => client.label(handle, label, parts),
  undo: () => client.undo(),
  remove: ({ handle, label }) => client.unlabel(handle, label),
  publish: () => client.publish(identity),
  async restore() {
    await client.restore(identity);
    return client.backupBlocks();
  },
  resolve: ({ target, ...place }) => client.labelsOf(target, { limit: 100, ...place }),
};

self.onmessage = async ({ data: { id, call, args } }) => {
  try {
    await ready;
    self.postMessage({ id, value: await calls[call](args ?? {}) });
  } catch (error) {
    const { code = "failed", message = String(error), retryable = false } = error ?? {};
    self.postMessage({ id, error: { code, message, retryable } });
  }
};
