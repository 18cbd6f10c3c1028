// The entry of the package: loads the build that this browser runs fastest, and hands out its classes.
//
// There are two builds of one module, with and without SIMD (scrypt is nearly twice as fast with it). Both glue
// files are imported statically, since a service worker has no dynamic import; only one module is ever fetched.
import * as simd from "./perennis_simd.js";
import * as plain from "./perennis_plain.js";

const builds = { simd, plain };

// Set once `init` has succeeded. Importers see the change: these are live bindings.
export let Client;
export let Identity;
export let checkPassphrase;
export let generatePassphrase;

// The smallest module that uses a SIMD instruction.
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

/** Whether this browser runs the build with SIMD. */
export function supportsSimd() {
  return WebAssembly.validate(SIMD_PROBE);
}

let loading = null;

/**
 * Loads the module, once; further calls wait for the first. A call that failed may be repeated.
 *
 * `sources` is `{ simd, plain }`, of which one may be left out, or the source of one build alone. A source is bytes, a
 * URL, a Response, a WebAssembly.Module, a promise of one of these, or a function that gives one and is called only
 * for the build that is used. There is no default: only the page knows where it serves the module from.
 */
export default function init(sources) {
  loading ??= load(sources).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load(sources) {
  let name, module;
  if (isSources(sources)) {
    name = sources.simd != null && (sources.plain == null || supportsSimd()) ? "simd" : "plain";
    module = await compile(sources[name]);
  } else {
    module = await compile(sources);
    name = buildOf(module);
  }
  const glue = builds[name];
  await glue.default({ module_or_path: module });
  ({ Client, Identity, checkPassphrase, generatePassphrase } = glue);
  return { build: name };
}

const isSources = (value) =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype &&
  ("simd" in value || "plain" in value);

// A module imports from the glue that was made for it.
function buildOf(module) {
  const from = new Set(WebAssembly.Module.imports(module).map((entry) => entry.module));
  const name = Object.keys(builds).find((build) => from.has(`./perennis_${build}_bg.js`));
  if (name === undefined) throw new TypeError("init(): this is no module of this version of the package");
  return name;
}

async function compile(given) {
  const source = await (typeof given === "function" ? given() : given);
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return WebAssembly.compile(source);
  if (typeof source === "string" || source instanceof URL) return compile(fetch(source));
  if (typeof Response === "function" && source instanceof Response) {
    if (!source.ok) throw new Error(`init(): ${source.url} answered ${source.status}`);
    const isWasm = source.headers.get("Content-Type")?.startsWith("application/wasm");
    // Servers that do not know the type are met by extensions and old hosts: then the bytes are compiled.
    return isWasm ? WebAssembly.compileStreaming(source) : WebAssembly.compile(await source.arrayBuffer());
  }
  throw new TypeError("init() takes bytes, a URL, a Response or a WebAssembly.Module, or { simd, plain } of these");
}
