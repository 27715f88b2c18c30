/** The helper's connections to the export: made when they are needed, used one after the other, kept for a while. */
import type { Libnfs } from "./libnfs.ts";
import type { Start } from "./protocol.ts";
import { findRoot, type Root } from "./root.ts";
import { createSession, type Session } from "./session.ts";

export interface Connection {
  readonly session: Session;
  readonly root: Root;
}

/** Who wants a connection. */
export interface Seeker {
  resolve(connection: Connection): void;
  reject(error: unknown): void;
}

export interface Pool {
  /** What the source's path leads to now. Connections from before are not used again: what is there may be another directory of the same name. */
  look(seeker: Seeker): void;
  take(seeker: Seeker): void;
  give(connection: Connection): void;
  /** Nobody waits for it any longer. */
  leave(seeker: Seeker): void;
  /** To be called now and then: finds servers that are silent for too long. */
  watch(now: number): void;
  /** Connections that broke so far: libnfs holds some memory for each. */
  readonly broken: number;
}

/** Milliseconds after which a connection is not used again: a server forgets clients of version 4 that say nothing for a minute or so. */
const STALE = 20_000;

export function createPool(libnfs: Libnfs, start: Start): Pool {
  const live = new Set<Session>();
  const idle: Connection[] = [];
  const waiting: Seeker[] = [];
  let root: Root | undefined;
  let opening = false;
  /** The one that is not for use yet. */
  let making: Session | undefined;
  let broken = 0;

  function open(): Session {
    const session = createSession(libnfs, start, () => {
      live.delete(session);
      if (!session.usable) broken++;
    });
    live.add(session);
    making = session;
    return session;
  }

  /** One at a time: some of what libnfs calls to connect is not made for threads. */
  async function openForWaiting(): Promise<void> {
    if (opening) return;
    opening = true;
    while (waiting.length > 0) {
      let session: Session | undefined;
      try {
        root ??= await findRoot(start, open);
        const found = root;
        session = open();
        await session.mount(found.mount);
        making = undefined;
        give({ session, root: found });
      } catch (error) {
        session?.close();
        making = undefined;
        // What went wrong may be that the directory is another one by now.
        root = undefined;
        // The next one would only wait for the same.
        for (const { reject } of waiting.splice(0)) reject(error);
      }
    }
    opening = false;
  }

  function take(seeker: Seeker): void {
    for (let kept = idle.pop(); kept !== undefined; kept = idle.pop()) {
      if (kept.root === root && performance.now() - kept.session.usedAt < STALE)
        return seeker.resolve(kept);
      kept.session.close();
    }
    waiting.push(seeker);
    void openForWaiting();
  }

  function give(connection: Connection): void {
    if (!connection.session.usable || connection.root !== root) {
      // An answer that is none about a path: the directory may be gone, and another in its place.
      if (!connection.session.usable && connection.root === root) root = undefined;
      return connection.session.close();
    }
    const next = waiting.shift();
    if (next === undefined) idle.push(connection);
    else next.resolve(connection);
  }

  return {
    look(seeker) {
      root = undefined;
      take(seeker);
    },
    take,
    give,
    leave(seeker) {
      const at = waiting.indexOf(seeker);
      if (at === -1) return;
      waiting.splice(at, 1);
      seeker.reject(new Error("nobody waits for it"));
      // What is being made now is for nobody, and may never get done.
      if (waiting.length === 0) making?.cut();
    },
    watch(now) {
      for (const session of live) session.watch(now);
    },
    get broken() {
      return broken;
    },
  };
}
