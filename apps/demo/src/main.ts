/** `npm start`: a source, a directory that follows it, and a web server on what is published. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { credentialsFromEnvironment, resolveSources } from "@pannier/cli";
import {
  describeFailure,
  describeSource,
  failureLine,
  follow,
  parseDuration,
  type SyncEvent,
} from "@pannier/core";
import { writeSampleSite } from "./sample-site.ts";
import { listen, makeServer } from "./static-server.ts";

const { env } = process;
const stopping = new AbortController();
// Each may come twice: from the terminal, and from npm, which passes it on.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stopping.abort());

try {
  await run(stopping.signal);
} catch (error) {
  console.error(
    `The demonstration cannot go on: ${failureLine(describeFailure(error, "variables"), "follow")}`,
  );
  process.exitCode = describeFailure(error, "variables").exitCode;
}

async function run(signal: AbortSignal): Promise<void> {
  // What nobody asked to keep goes away at the end.
  const folder = await mkdtemp(join(tmpdir(), "pannier-demo-"));
  const target = env["TARGET"] ? resolve(env["TARGET"]) : join(folder, "target");
  const server = makeServer(join(target, "current"));
  try {
    const sample = env["SOURCE"] ? undefined : join(folder, "site");
    if (sample !== undefined) await writeSampleSite(sample);
    const sources = await resolveSources(
      sample === undefined ? lines(env["SOURCE"] as string) : [sample],
      {
        adapter: env["PANNIER_ADAPTER"],
        cwd: process.cwd(),
      },
    );
    const period = parseDuration(env["PERIOD"] || (sample === undefined ? "5s" : "1s"));
    const port = await listen(server, Number(env["PORT"] || 8080));
    const address = `http://127.0.0.1:${port}/`;
    console.log(`Following  ${sources.map(describeSource).join("\n           ")}`);
    console.log(`into       ${target}\n`);
    console.log(`Open       ${address}`);
    if (sample !== undefined) {
      console.log(`Edit       ${join(sample, "index.html")}\n`);
      console.log(`or try     echo 'Hello!' > ${join(sample, "notes", "hello.txt")}`);
    }
    console.log("Ctrl-C ends it and removes what it made.\n");
    const credentials = credentialsFromEnvironment(env, process.cwd());
    for await (const event of follow({ sources, target, period, credentials }, { signal }))
      report(event);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    server.close();
    server.closeAllConnections();
    await rm(folder, { recursive: true, force: true });
  }
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "");
}

function report(event: SyncEvent): void {
  const time = new Date().toLocaleTimeString("en-GB");
  if (event.type === "done" && event.result.result === "published") {
    const { revision, added, changed, deleted, duration } = event.result;
    console.log(
      `${time}  published ${revision.slice(0, 12)}: ${added} added, ${changed} changed, ${deleted} deleted, in ${Math.round(duration)} ms`,
    );
  } else if (event.type === "failed") {
    console.log(`${time}  ${failureLine(describeFailure(event.error, "variables"), "follow")}`);
  } else if (event.type === "warning" || event.type === "healed") {
    console.log(`${time}  ${event.message}`);
  }
}
