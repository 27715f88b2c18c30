/** `pannier verify`: what is published against what was recorded, and repairing it. */
import { resolve } from "node:path";
import {
  type Fault,
  oneLine,
  RefusedError,
  repair,
  status,
  type SyncResult,
  verify,
} from "@pannier/core";
import { oneTarget } from "../environment.ts";
import type { Invocation } from "../invocation.ts";
import { mountOptions, recordedSources } from "../mount.ts";
import { count } from "../format.ts";
import { describeResult } from "./sync.ts";

/** Paths that `--json` names of each kind; a tree with more faults is told by their number. */
const NAMED = 1000;

type Faults = Readonly<Record<Fault, string[]>>;

interface Found {
  readonly checked: number;
  readonly changed: number;
  readonly missing: number;
  readonly extra: number;
}

export async function run(invocation: Invocation): Promise<number> {
  const { args, settings, context, print, printJson } = invocation;
  const target = resolve(context.cwd, oneTarget(context.env, args[0]));
  const faults: Faults = { changed: [], missing: [], extra: [] };
  const found = await look(target, faults, invocation);
  const wrong = found === undefined || found.changed + found.missing + found.extra > 0;
  if (settings.json !== true) await print(describeFound(found));
  const repaired =
    wrong && settings.repair === true ? await repairTarget(target, invocation) : undefined;
  const ok = !wrong || repaired !== undefined;
  if (settings.json === true) await printJson({ ok, ...found, paths: faults, repaired });
  else if (repaired !== undefined)
    await print(`repaired; ${describeResult(repaired, context.cwd)}`);
  return ok ? 0 : 6;
}

/** `undefined`: the whole tree is gone, which only `--repair` takes calmly. */
async function look(
  target: string,
  faults: Faults,
  { settings, context, signal }: Invocation,
): Promise<Found | undefined> {
  const onFault = (fault: Fault, path: string) => {
    if (faults[fault].length < NAMED) faults[fault].push(path);
    if (settings.json !== true) context.stdout.write(`${fault.padEnd(7)}  ${oneLine(path)}\n`);
  };
  try {
    return await verify(target, onFault, signal);
  } catch (error) {
    if (settings.repair === true && error instanceof RefusedError) return undefined;
    throw error;
  }
}

function describeFound(found: Found | undefined): string {
  if (found === undefined) return "the published tree is gone";
  const { checked, changed, missing, extra } = found;
  if (changed + missing + extra === 0) return `${count(checked, "file")} checked, all as published`;
  return `${count(checked, "file")} checked: ${changed} changed, ${missing} missing, ${extra} extra`;
}

async function repairTarget(target: string, invocation: Invocation): Promise<SyncResult> {
  const published = status(target);
  const options = mountOptions(invocation, await recordedSources(target, invocation), target);
  const result = await repair({
    ...options,
    publish: options.publish ?? published?.publish,
    link: options.link ?? published?.link,
  });
  invocation.clearProgress();
  return result;
}
