/** Asking a pre-publish hook. */
import { openSync } from "node:fs";
import { join } from "node:path";
import { HookError } from "../errors.ts";
import { writeChanges } from "./changes-file.ts";
import type { Run } from "./run.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import { plannedChanges } from "../snapshot/plan.ts";
import type { Generation } from "../state/generations.ts";
import { HOME, randomName } from "../volume/layout.ts";
import { removeFile } from "../volume/files.ts";

/** @throws HookError when the hook throws */
export async function askHook(
  run: Run,
  hook: NonNullable<SyncOptions["prePublish"]>,
  path: string,
  next: { readonly revision: string; readonly published: Generation | undefined },
): Promise<void> {
  const { state, layout } = run.mount.volume;
  // Written where it cannot be led astray; the hook is told its plain name.
  const name = randomName("changes");
  const changes = join(layout.home, name);
  try {
    await writeChanges(openSync(changes, "wx"), plannedChanges(state));
  } catch (error) {
    removeFile(changes);
    throw error;
  }
  try {
    await hook(
      {
        path,
        revision: next.revision,
        previousRevision: next.published?.revision,
        changes: join(layout.target, HOME, name),
      },
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
    removeFile(changes);
  }
}
