/** Which revision each hook was last run for, so that a restart neither repeats nor forgets one. */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { inHome } from "@pannier/core";
import type { HookTools } from "./pre-publish.ts";

/** What cannot be removed is swept away when the target is opened next. */
export function removeFile(target: string, owner: HookTools["owner"], name: string): void {
  try {
    inHome(target, owner, (home) => rmSync(join(home, name), { force: true }));
  } catch {
    // The target was taken away, or is somebody else's by now.
  }
}

/** Which revision each hook was last run for. */
export interface Memory {
  read(key: string): string | undefined;
  write(key: string, revision: string): void;
}

export function openMemory({ target, owner }: Pick<HookTools, "target" | "owner">): Memory {
  const file = "hooks.json";
  let known: Record<string, string> | undefined;
  const load = () =>
    (known ??= readMemory((read) => inHome(target, owner, (home) => read(join(home, file)))));
  return {
    read: (key) => load()[key],
    write(key, revision) {
      load()[key] = revision;
      const temporary = `hooks-${randomBytes(8).toString("hex")}`;
      try {
        inHome(target, owner, (home) => {
          writeFileSync(join(home, temporary), JSON.stringify(known), { flag: "wx" });
          renameSync(join(home, temporary), join(home, file));
        });
      } catch {
        // Then a restart runs the hook once more.
        removeFile(target, owner, temporary);
      }
    },
  };
}

function readMemory(inPlace: (read: (file: string) => string) => string): Record<string, string> {
  try {
    const known = JSON.parse(inPlace((file) => readFileSync(file, "utf8"))) as unknown;
    if (typeof known === "object" && known !== null)
      return Object.fromEntries(
        Object.entries(known).filter(([, revision]) => typeof revision === "string"),
      ) as Record<string, string>;
  } catch {
    // None yet, or not ours.
  }
  return {};
}
