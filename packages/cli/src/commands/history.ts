/** `pannier history`: the revisions that were published, the newest first. */
import { resolve } from "node:path";
import { history } from "@pannier/core";
import { oneTarget } from "../environment.ts";
import { describeSignature, shortRevision } from "../format.ts";
import type { Invocation } from "../invocation.ts";

export async function run({
  args,
  settings,
  context,
  print,
  printJson,
}: Invocation): Promise<number> {
  const generations = history(resolve(context.cwd, oneTarget(context.env, args[0])));
  if (settings.json === true) {
    await printJson({
      generations: generations.map((one) => ({ ...one, time: new Date(one.time).toISOString() })),
    });
    return 0;
  }
  for (const one of generations) {
    const { revision, time, added, changed, deleted, published, path, sources } = one;
    const state = published ? "published" : path === undefined ? "" : "kept";
    const when = new Date(time).toISOString().slice(0, 19).replace("T", " ");
    await print(
      `${when}  ${state.padEnd(9)}  ${shortRevision(revision).padEnd(12)}  +${added} ~${changed} -${deleted}`,
    );
    for (const { signature } of sources)
      if (signature !== undefined) await print(`  signed: ${describeSignature(signature)}`);
  }
  return 0;
}
