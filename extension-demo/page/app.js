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

// Where the page of the list that is shown begins, and where the next one does.
let after, next;

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
    for (const id of ["add", "undo", "publish", "resolve", "restore"]) $(id).disabled = $("identity").hidden;
    $("first").disabled = after === undefined;
    $("next").disabled = next === undefined;
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

async function showList(from) {
  let { labels, next: following } = await call("list", from === undefined ? {} : { after: from });
  if (labels.length === 0 && from !== undefined) {
    // The last label of the last page is gone.
    return showList();
  }
  [after, next] = [from, following];
  $("labels").replaceChildren();
  $("empty").hidden = labels.length > 0;
  for (const { handle, label, note, expires, negated } of labels) {
    const row = $("labels").insertRow();
    const name = handle.startsWith("#") ? handle : `@${handle}`;
    const remove = Object.assign(document.createElement("button"), {
      type: "button", textContent: "✕", className: "quiet", ariaLabel: `Remove ${label} from ${name}`,
    });
    remove.addEventListener("click", () => act("Removing", "Removed. Publish to make it known.", async () => {
      await call("remove", { handle, label });
      await showList(after);
    }));
    const ends = expires === undefined ? "" : new Date(expires).toISOString().slice(0, 16).replace("T", " ");
    for (const content of [name, negated ? `not ${label}` : label, note ?? "", ends, remove]) cell(row, content);
  }
  $("pages").hidden = after === undefined && next === undefined;
  $("place").textContent = next === undefined ? "the last page" : `${labels.length} labels, and more`;
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
    exists: $("exists").checked,
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
  await call("add", {
    handle: $("handle").value, label: $("label").value, note: $("note").value, expires: $("expires").value,
    // Unchecked says nothing: a label that does not apply stays so when its note changes.
    negated: $("negated").checked || undefined,
  });
  $("label-form").reset();
  await showList(after);
}));

$("undo").addEventListener("click", () => act("Taking back", (changes) => changes ? "Taken back." : "Nothing waits.", async () => {
  const changes = await call("undo");
  await showList(after);
  return changes;
}));

$("first").addEventListener("click", () => act("Reading", "The first page.", () => showList()));
$("next").addEventListener("click", () => act("Reading", "The next page.", () => showList(next)));

$("publish").addEventListener("click", () => act("Publishing", "Published: the node keeps it alive now.", async () => {
  const { head, sequence, validUntil, nodes } = await call("publish");
  $("head").textContent = head;
  $("sequence").textContent = sequence;
  $("until").textContent = validUntil;
  $("nodes").textContent = nodes.map(({ url, stored }) => `${url} ${stored ? "✓" : "✗"}`).join(", ");
  $("published").hidden = false;
  await showList();
}));

let resolving = {};

async function showResolved(place) {
  const found = await call("resolve", place);
  resolving = { ...place, after: found.next };
  $("resolved").textContent = JSON.stringify(found, null, 2);
  $("resolved").hidden = false;
  $("resolved-next").hidden = found.next === undefined;
}

onSubmit("resolve-form", () => act("Resolving", "Resolved and verified.",
  () => showResolved({ target: $("target").value.trim() })));
$("resolved-next").addEventListener("click", () => act("Reading", "The next page.", () => showResolved(resolving)));

call("ready").then(() => say("Ready. Open or make an identity."), ({ message }) => say(message, true));
