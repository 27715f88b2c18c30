/** An HTTP service that answers with the newest published rules, and never with half of a change. */
import { readFile, realpath } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { follow, type SourceSpec } from "@pannier/core";

export interface Service {
  readonly server: Server;
  /** Ends when the signal is aborted. */
  readonly done: Promise<void>;
}

/**
 * @param source a directory, repository or archive with a `rules.json`
 * @param target where Pannier keeps its trees
 */
export function startService(source: SourceSpec, target: string, signal: AbortSignal): Service {
  let rules: { readonly revision: string; readonly content: unknown } | undefined;

  async function keepRules(): Promise<void> {
    for await (const event of follow({ sources: [source], target, period: "10s" }, { signal })) {
      if (event.type === "failed") console.error(`still on the old rules: ${event.error.message}`);
      // "done" also comes where nothing had to be published: after a restart.
      if (event.type !== "done" || event.result.revision === rules?.revision) continue;
      // Resolved once: everything read below it is of one revision.
      const tree = await realpath(event.result.path);
      const content: unknown = JSON.parse(await readFile(join(tree, "rules.json"), "utf8"));
      rules = { revision: event.result.revision, content };
    }
  }

  const server = createServer((_, response) => {
    response.setHeader("content-type", "application/json");
    response.statusCode = rules === undefined ? 503 : 200;
    response.end(JSON.stringify(rules ?? { error: "no rules yet" }));
  });
  return { server, done: keepRules() };
}
