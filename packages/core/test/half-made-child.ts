/**
 * One sync under umask 077 that dies at the N-th call of a function of `node:fs`. Arguments, as JSON: {@link HalfMadeOrder}.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

export interface HalfMadeOrder {
  readonly target: string;
  readonly publish: "swap" | "mirror";
  readonly dirMode: number;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly call:
    | "mkdirSync"
    | "fchmodSync"
    | "chmodSync"
    | "fchownSync"
    | "chownSync"
    | "renameSync";
  readonly at: number;
}

const order = JSON.parse(process.argv[2] as string) as HalfMadeOrder;
process.umask(0o077);
const original = fs[order.call] as (...args: unknown[]) => unknown;
let calls = 0;
Object.assign(fs, {
  [order.call](...args: unknown[]) {
    calls++;
    // What is made is there; of everything else, what was before it.
    const result = order.call === "mkdirSync" ? original(...args) : undefined;
    if (calls === order.at) process.kill(process.pid, "SIGKILL");
    return result ?? (order.call === "mkdirSync" ? result : original(...args));
  },
});
syncBuiltinESMExports();

// Only now, so that the engine gets the function above.
const { sync } = await import("../src/index.ts");
const { memorySource } = await import("./memory-source.ts");

const { target, publish, dirMode, owner } = order;
const content = { "d/e/f": "1", "d/g": "2", "h/i": { link: "j" } };
await sync({ sources: [memorySource(content)], target, publish, dirMode, owner });
