/** `pannier plan`: what a sync would do. */
import { CHANGE_LETTERS, describeFailure, oneLine, type PlannedChange, plan } from "@pannier/core";
import type { Invocation } from "../invocation.ts";
import { ReportedError } from "../reported-error.ts";
import { toJson } from "../log.ts";
import { mountFromArguments } from "../mount.ts";
import { count, formatBytes, shortRevision } from "../format.ts";

export async function run(invocation: Invocation): Promise<number> {
  return invocation.settings.json === true ? planAsJson(invocation) : planAsText(invocation);
}

async function planAsText(invocation: Invocation): Promise<number> {
  const { context, clearProgress, print } = invocation;
  const options = await mountFromArguments(invocation);
  const { write, flush } = gathered((text) => {
    clearProgress();
    context.stdout.write(text);
  });
  const showing = plan(options, ({ change, path, kind, size, version }) => {
    const extent = kind === "symlink" ? "link" : size === undefined ? "" : formatBytes(size);
    const named = version === undefined ? "" : `  (version ${oneLine(version)})`;
    write(`${CHANGE_LETTERS[change]}  ${extent.padStart(10)}  ${oneLine(path)}${named}\n`);
  });
  const result = await showing.finally(flush);
  clearProgress();
  const { added, changed, deleted } = result;
  if (result.result === "unchanged")
    await print(`nothing to do: ${shortRevision(result.revision)} is published`);
  else
    await print(
      `${count(added, "addition")}, ${count(changed, "change")}, ${count(deleted, "deletion")}; the tree would be ${shortRevision(result.revision)}: ${count(result.files, "file")}, ${formatBytes(result.bytes)}`,
    );
  return 0;
}

/** One object, written as the changes come: there may be a million of them. A plan that was refused is shown with its error. */
async function planAsJson(invocation: Invocation): Promise<number> {
  const { context, redact } = invocation;
  const options = await mountFromArguments(invocation);
  const { write, flush } = gathered((text) => context.stdout.write(text));
  let comma = "";
  const end = (rest: object) => {
    write(`${comma === "" ? '{"changes":[' : ""}],${toJson(rest, redact).slice(1)}\n`);
    flush();
  };
  try {
    const result = await plan(options, (change: PlannedChange) => {
      write(`${comma === "" ? '{"changes":[' : comma}\n${JSON.stringify(change)}`);
      comma = ",";
    });
    end(result);
    return 0;
  } catch (error) {
    if (comma === "") throw error;
    end({ error: describeFailure(error, "variables") });
    throw new ReportedError(error);
  }
}

/** Characters that are written at once: a call of the system for each line takes longer than finding it. */
const AT_ONCE = 32 * 1024;

function gathered(put: (text: string) => void) {
  let text = "";
  const flush = () => {
    if (text !== "") put(text);
    text = "";
  };
  const write = (more: string) => {
    text += more;
    if (text.length >= AT_ONCE) flush();
  };
  return { write, flush };
}
