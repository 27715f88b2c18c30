/** Names on the volume. Whatever is made and replaced has a random name: nothing left over from a killed process stands in the way. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";

export interface Layout {
  /** Absolute, as others know it. Work goes through {@link Layout.root}. */
  readonly target: string;
  readonly root: string;
  /** Our own directory in the target. */
  readonly home: string;
  readonly generations: string;
  /** Where sources keep caches. */
  readonly scratch: string;
  readonly state: string;
  readonly lock: string;
}

export const HOME = ".pannier";

export function layoutOf(target: string): Layout {
  const home = join(target, HOME);
  return {
    target,
    root: target,
    home,
    generations: join(home, "generations"),
    scratch: join(home, "scratch"),
    state: join(home, "state.db"),
    lock: join(home, "lock"),
  };
}

/** A name that nothing else has. */
export function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(8).toString("hex")}`;
}

/** Whether a name can have come from {@link randomName}: others might lead out of the target. */
export function isRandomName(prefix: string, name: unknown): name is string {
  const rest =
    typeof name === "string" && name.startsWith(`${prefix}-`) && name.slice(prefix.length + 1);
  return rest !== false && /^[0-9a-f]{16}$/.test(rest);
}
