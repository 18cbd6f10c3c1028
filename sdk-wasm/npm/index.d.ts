export { Client, Identity, checkPassphrase, generatePassphrase } from "./perennis_simd.js";

/** Where a build comes from. A function is called only when its build is used. */
export type Source = BufferSource | string | URL | Response | WebAssembly.Module;
export type LazySource = Source | Promise<Source> | (() => Source | Promise<Source>);

/** The two builds; one may be left out. */
export interface Sources {
  simd?: LazySource;
  plain?: LazySource;
}

/** Loads the module, once. The classes of this package can be used when it has resolved. */
export default function init(sources: Sources | LazySource): Promise<{ build: "simd" | "plain" }>;

/** Whether this browser runs the build with SIMD. */
export function supportsSimd(): boolean;
