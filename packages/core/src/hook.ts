/** Asking a pre-publish hook. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HookError } from "./errors.ts";
import type { Run } from "./run.ts";
import type { SyncOptions } from "./settings.ts";
import { plannedChanges } from "./snapshot/plan.ts";
import type { Generation } from "./volume/state.ts";
import { randomName } from "./volume/layout.ts";

/** @throws HookError when the hook throws */
export async function askHook(
  run: Run,
  hook: NonNullable<SyncOptions["prePublish"]>,
  path: string,
  next: { readonly revision: string; readonly published: Generation | undefined },
): Promise<void> {
  const { state, layout } = run.mount.volume;
  const changes = join(layout.home, randomName("changes"));
  const letters = { added: "A", changed: "M", deleted: "D" };
  const lines = [...plannedChanges(state)].map(
    (change) => `${letters[change.change]}\t${plainOrQuoted(change.path)}\n`,
  );
  writeFileSync(changes, lines.join(""), { flag: "wx" });
  try {
    await hook(
      { path, revision: next.revision, previousRevision: next.published?.revision, changes },
      run.signal,
    );
  } catch (error) {
    throw run.signal.aborted
      ? run.signal.reason
      : new HookError(
          `the pre-publish hook refused revision ${next.revision}: ${(error as Error).message}`,
          { cause: error, hint: "what was published before stays" },
        );
  } finally {
    rmSync(changes, { force: true });
  }
}

/** A line break in a name must not look like the end of a line. */
function plainOrQuoted(path: string): string {
  return /[\p{Cc}"]/u.test(path) ? JSON.stringify(path) : path;
}
