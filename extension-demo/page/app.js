// The page: forms and tables. All work is done by the SDK in worker.js.
const worker = new Worker(new URL(`./worker.js${location.search}`, import.meta.url), { type: "module" });
const waiting = new Map();
let calls = 0;

worker.onmessage = ({ data: { id, value, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  error ? reject(error) : resolve(value);
};
worker.onerror = (event) => say(`The SDK could not be loaded: ${event.message ?? "see the console"}`, true);

const call = (name, args) => new Promise((resolve, reject) => {
  const id = ++calls;
  waiting.set(id, { resolve, reject });
  worker.postMessage({ id, call: name, args });
});

const $ = (id) => document.getElementById(id);

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// Runs one action with its form held, and tells how it ended.
async function act(doing, done, action) {
  const held = [...document.querySelectorAll("button:enabled")];
  for (const button of held) button.disabled = true;
  say(`${doing}…`);
  try {
    const value = await action();
    say(typeof done === "function" ? done(value) : done);
  } catch ({ message, retryable }) {
    say(retryable ? `${message}. Trying again may help.` : message, true);
  } finally {
    for (const button of held) button.disabled = false;
    for (const id of ["add", "publish", "resolve", "restore"]) $(id).disabled = $("identity").hidden;
  }
}

const onSubmit = (form, action) => $(form).addEventListener("submit", (event) => {
  event.preventDefault();
  action();
});

function cell(row, content) {
  const td = row.insertCell();
  td.append(content);
}

async function showList() {
  const { labels } = await call("list");
  $("labels").replaceChildren();
  $("empty").hidden = labels.length > 0;
  for (const { handle, label, note } of labels) {
    const row = $("labels").insertRow();
    const remove = Object.assign(document.createElement("button"), {
      type: "button", textContent: "✕", className: "quiet", ariaLabel: `Remove ${label} from @${handle}`,
    });
    remove.addEventListener("click", () => act("Removing", "Removed. Publish to make it known.", async () => {
      await call("remove", { handle, label });
      await showList();
    }));
    for (const content of [`@${handle}`, label, note ?? "", remove]) cell(row, content);
  }
  const staged = await call("staged");
  $("staged").textContent = staged ? `${staged} change${staged === 1 ? "" : "s"} to publish` : "Nothing to publish";
}

async function opened({ did, ipnsName }) {
  $("did").textContent = did;
  $("name").textContent = ipnsName;
  $("identity").hidden = false;
  $("target").value ||= did;
  await showList();
}

onSubmit("identity-form", () => act("Deriving the identity", "Identity open.", async () => {
  const identity = await call("open", {
    passphrase: $("passphrase").value, profile: $("profile").value, account: $("account").value,
  });
  $("passphrase").value = "";
  $("generated").hidden = true;
  await opened(identity);
}));

$("generate").addEventListener("click", () => act("Drawing words", "Write these words down: nobody can bring them back.", async () => {
  const phrase = await call("generate");
  $("passphrase").value = phrase;
  $("generated").textContent = phrase;
  $("generated").hidden = false;
}));

$("restore").addEventListener("click", () => act("Restoring", ({ blocks }) => `Restored ${blocks} blocks.`, async () => {
  const restored = await call("restore");
  await showList();
  return restored;
}));

onSubmit("label-form", () => act("Adding", "Kept in this browser. Publish to make it known.", async () => {
  await call("add", { handle: $("handle").value, label: $("label").value, note: $("note").value });
  $("label-form").reset();
  await showList();
}));

$("publish").addEventListener("click", () => act("Publishing", "Published: the node keeps it alive now.", async () => {
  const { head, sequence, validUntil, nodes } = await call("publish");
  $("head").textContent = head;
  $("sequence").textContent = sequence;
  $("until").textContent = validUntil;
  $("nodes").textContent = nodes.map(({ url, stored }) => `${url} ${stored ? "✓" : "✗"}`).join(", ");
  $("published").hidden = false;
  await showList();
}));

onSubmit("resolve-form", () => act("Resolving", "Resolved and verified.", async () => {
  const found = await call("resolve", { target: $("target").value.trim() });
  $("resolved").textContent = JSON.stringify(found, null, 2);
  $("resolved").hidden = false;
}));

call("ready").then(() => say("Ready. Open or make an identity."), ({ message }) => say(message, true));
