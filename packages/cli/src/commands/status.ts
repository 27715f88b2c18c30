/** `pannier status`: what is published. */
import { resolve } from "node:path";
import { status, TargetError } from "@pannier/core";
import { oneTarget } from "../environment.ts";
import type { Invocation } from "../invocation.ts";
import { count, describeSignature, formatBytes, formatDuration } from "../format.ts";

export async function run({
  args,
  settings,
  context,
  print,
  printJson,
}: Invocation): Promise<number> {
  const target = resolve(context.cwd, oneTarget(context.env, args[0]));
  const published = status(target);
  if (published === undefined)
    throw new TargetError(`nothing is published at ${target}`, { hint: "sync to it first" });
  const { revision, time, path, files, bytes, publish, link, held, sources } = published;
  if (settings.json === true) {
    await printJson({ ...published, target, time: new Date(time).toISOString() });
    return 0;
  }
  const row = (name: string, text: string) => print(`${name.padEnd(10)} ${text}`);
  await row(
    "revision",
    held ? `${revision} (rolled back to: the sources are held back until they change)` : revision,
  );
  await row(
    "published",
    `${new Date(time).toISOString()}, ${formatDuration(Date.now() - time)} ago`,
  );
  await row("how", publish === "swap" ? `swap, at ${link}` : "mirror");
  await row("tree", path ?? "gone");
  await row("content", `${count(files, "file")}, ${formatBytes(bytes)}`);
  for (const { url, into, revision: own, signature } of sources) {
    const place = into === "" ? "" : ` into ${into}`;
    await row("source", own === "" ? `${url}${place}` : `${url}${place}, at ${own}`);
    if (signature !== undefined) await row("signed", describeSignature(signature));
  }
  return 0;
}
