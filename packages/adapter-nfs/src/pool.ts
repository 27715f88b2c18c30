/** The helper's connections to the export: made when they are needed, used one after the other, kept for a while. */
import type { Libnfs } from "./libnfs.ts";
import type { Start } from "./protocol.ts";
import { findRoot, type Root } from "./root.ts";
import { NfsProblem } from "./problem.ts";
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

/** What libnfs says of a server that does not know a procedure, and of one that answers this in a wrong form, as go-nfs does. */
const UNKNOWN_PROCEDURE = /Procedure not available|zdr_replymsg failed/;

export function createPool(libnfs: Libnfs, start: Start): Pool {
  const live = new Set<Session>();
  const idle: Connection[] = [];
  const waiting: Seeker[] = [];
  let root: Root | undefined;
  /** Whether the exports below the source's path are asked for and crossed, of version 3. */
  let crossing = true;
  let opening = false;
  /** The one that is not for use yet. */
  let making: Session | undefined;
  let broken = 0;

  async function open(directory: string): Promise<Session> {
    const session = createSession(libnfs, { ...start, crossing }, () => {
      live.delete(session);
      if (!session.usable) broken++;
    });
    live.add(session);
    making = session;
    try {
      await session.mount(directory);
      return session;
    } catch (error) {
      session.close();
      if (!crossing || !(error instanceof NfsProblem)) throw error;
      if (start.version !== 3 || !UNKNOWN_PROCEDURE.test(error.problem.text)) throw error;
    }
    // A server that cannot list its exports is read without those below. Where that was not the cause, this fails the same way.
    crossing = false;
    return open(directory);
  }

  /** One at a time: some of what libnfs calls to connect is not made for threads. */
  async function openForWaiting(): Promise<void> {
    if (opening) return;
    opening = true;
    while (waiting.length > 0) {
      try {
        root ??= await findRoot(start, open);
        const found = root;
        const session = await open(found.mount);
        making = undefined;
        give({ session, root: found });
      } catch (error) {
        making = undefined;
        // What went wrong may be that the directory is another one by now.
        root = undefined;
        crossing = true;
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
      crossing = true;
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
