/** The free space of the mounts' volumes, asked for at most once a second. */
import type { Mount } from "../mount.ts";
import { freeBytes } from "../shown.ts";

/** Milliseconds between two looks at the volumes. */
const LOOK = 1000;

export interface FreeSpace {
  /** Bytes by the mount's name, as they were last seen. */
  of(mount: string): number | undefined;
  /** Looks again, if the last look is long ago. */
  refresh(mounts: readonly Mount[]): Promise<void>;
}

export function createFreeSpace(): FreeSpace {
  let free = new Map<string, number>();
  let looked = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | undefined;

  async function look(mounts: readonly Mount[]): Promise<void> {
    const stats = await Promise.all(
      mounts.map(async ({ config }) => [config.name, await freeBytes(config.options)] as const),
    );
    free = new Map(stats.flatMap(([name, bytes]) => (bytes === undefined ? [] : [[name, bytes]])));
  }

  return {
    of: (mount) => free.get(mount),
    async refresh(mounts) {
      if (performance.now() - looked < LOOK) return;
      looking ??= look(mounts).finally(() => {
        looking = undefined;
        looked = performance.now();
      });
      await looking;
    },
  };
}
