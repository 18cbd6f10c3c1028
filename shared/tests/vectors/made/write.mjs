// Writes vectors as JSON, a vector a line, so that a change of one shows as one line.
import { writeFileSync } from "node:fs";

export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const base64 = (bytes) => Buffer.from(bytes).toString("base64");

export function write(name, by, parts) {
  const lists = Object.entries(parts).map(([part, vectors]) =>
    ` ${JSON.stringify(part)}: [\n${vectors.map((vector) => `  ${JSON.stringify(vector)}`).join(",\n")}\n ]`);
  const head = ` "made by": ${JSON.stringify(by)}`;
  writeFileSync(new URL(name, import.meta.url), `{\n${[head, ...lists].join(",\n")}\n}\n`);
}

// Bytes of this many, the same each time.
export function bytesOf(count, seed) {
  let state = seed >>> 0;
  return Uint8Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}
