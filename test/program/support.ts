/** What the tests of the whole program share. */
import http, { type RequestListener } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { run } from "../../packages/cli/test/run.ts";
import { toldOfLanes } from "../support/from-sources.ts";
import { describeOutcome, type Outcome, runPannier, type RunOptions } from "../support/pannier.ts";

/** `PANNIER_SCALE=full`: the sizes that the project promises, for some minutes; otherwise a taste of them. */
export const FULL = process.env["PANNIER_SCALE"] === "full";

/** Another number tries other moments; a failing run names its own. */
export const SEED = Number(process.env["PANNIER_SEED"] ?? 1);

/** Lanes from the first file on or none, as it falls out, unless the tests were told. */
export function someLanes(random: () => number): Readonly<Record<string, string>> {
  const lanes = random() < 0.5 ? "always" : "never";
  return { PANNIER_TEST_LANES: lanes, ...toldOfLanes() };
}

/**
 * A directory that is gone after the test.
 *
 * @param after a concurrent test's own `onTestFinished`: the global one may take it for another's
 */
export async function workDirectory(
  after: (cleanup: () => Promise<void>) => void = onTestFinished,
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-program-"));
  after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** An HTTP server that is gone after the test; its origin. */
export async function serve(listener: RequestListener): Promise<string> {
  const server = http.createServer(listener).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The program to its end: at full size as a process of its own, else in this one, which is ten times as quick. */
export function pannier(
  args: readonly string[],
  options: Pick<RunOptions, "env"> = {},
): Promise<Outcome> {
  return FULL ? runPannier(args, options) : run(args, options);
}

/** The same, where nothing but success will do. */
export async function pannierOk(args: readonly string[]): Promise<Outcome> {
  const outcome = await pannier(args);
  if (outcome.code !== 0) throw new Error(`pannier ${args.join(" ")}: ${describeOutcome(outcome)}`);
  return outcome;
}
