/** A process that runs out of descriptors at the moment a test says. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { FROM_SOURCES } from "./from-sources.ts";

const PRELUDE = `
import { closeSync, openSync } from "node:fs";
/** Takes all but some of the descriptors that there are. @returns gives them back */
function takeDescriptors({ but }) {
  const taken = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    for (const fd of taken.splice(0, but)) closeSync(fd);
  }
  return () => taken.splice(0).forEach((fd) => closeSync(fd));
}`;

/** Runs a module in a process with few descriptors, with `takeDescriptors({ but })` to take them. @returns what it prints */
export async function withFewDescriptors(module: string): Promise<string> {
  const { stdout } = await promisify(execFile)("sh", [
    "-c",
    'ulimit -n 64 && exec "$0" "$@"',
    process.execPath,
    ...FROM_SOURCES,
    "--input-type=module",
    "-e",
    PRELUDE + module,
  ]);
  return stdout.trim();
}
