/** A Fastify service that answers with the newest published rules, and never with half of a change. */
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { follow, type SourceSpec } from "@pannier/core";
import fastify, { type FastifyInstance } from "fastify";

interface Rules {
  readonly revision: string;
  readonly content: unknown;
}

/**
 * @param source a directory, repository or archive with a `rules.json`
 * @param target where Pannier keeps its trees
 * @returns the service, not listening yet; closing it ends the following as well
 */
export function createService(source: SourceSpec, target: string): FastifyInstance {
  const service = fastify();
  const stopping = new AbortController();
  let rules: Rules | undefined;

  async function keepRules(): Promise<void> {
    const { signal } = stopping;
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

  let following: Promise<void> | undefined;
  service.addHook("onReady", async () => {
    following = keepRules();
    // What ends it, rules that are no JSON for one, ends the service.
    following.catch((error: unknown) => {
      console.error(error);
      void service.close();
    });
  });
  service.addHook("onClose", async () => {
    stopping.abort();
    await following?.catch(() => {});
  });

  service.get("/", (_request, reply) =>
    rules === undefined ? reply.code(503).send({ error: "no rules yet" }) : reply.send(rules),
  );
  return service;
}
