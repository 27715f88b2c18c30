/**
 * Small files of an FTP server without encryption, in a lane. For each file a connection sends RETR, and then what asks for its time together with what asks
 * for the next data connection: two turns instead of three, and none of the promises.
 */
import type { FileEntry, Lane, LaneContext, OpenLane } from "@pannier/core/adapter";
import { createLaneJobs, finished, type LaneJob } from "@pannier/file-server/lane-jobs";
import { hasTime, matches } from "./fingerprint.ts";
import { connectLane, type LaneConnection, type LaneTarget } from "./lane-connection.ts";
import { contentPath } from "./path.ts";

export interface LaneData {
  readonly target: LaneTarget;
  /** The source's path on the server, as bytes, without a `/` at the end. */
  readonly root: string;
  /** Whether the server tells times by MDTM. */
  readonly times: boolean;
  /** Shared with the adapter: 1 where the server turned out to take one command at a time, so that no lane is asked for again. */
  readonly oneByOne: Int32Array;
}

/** Bytes; larger ones are looked at before they are read as well, which is for `read`. */
const MOST = 256 * 1024;
/** Milliseconds between looks at connections that may have fallen silent. */
const LOOK = 500;
/** Milliseconds without work after which connections are given back to the server. */
const IDLE = 2000;

type Job = LaneJob<LaneData>;

export const openLane: OpenLane = ({ idleTimeout, atOnce }: LaneContext): Lane => {
  const waiting = createLaneJobs<LaneData>();
  const all = new Set<LaneConnection>();
  const free: LaneConnection[] = [];
  /** Connections that there may be: as many as the engine allows and the server bears. */
  let most = atOnce;
  let borne = Infinity;
  /** Whether one more is tried after a refusal: another lane may not have closed yet what was its own. */
  let mayTryAgain = true;
  let isHeeded = false;
  let watch: NodeJS.Timeout | undefined;
  let usedAt = 0;

  function open({ target, oneByOne }: LaneData): void {
    let isSignedIn = false;
    const connection = connectLane(target, idleTimeout, {
      forgotten: () => Atomics.store(oneByOne, 0, 1),
      idle() {
        isSignedIn = true;
        free.push(connection);
        pump();
      },
      gone() {
        all.delete(connection);
        const at = free.indexOf(connection);
        if (at !== -1) free.splice(at, 1);
        // With others there, a refusal means that they are as many as there may be.
        if (!isSignedIn) borne = all.size;
        if (borne === 0 && !mayTryAgain) waiting.giveUp();
        // Not from here: it may be one of many that end now.
        setImmediate(pump);
      },
    });
    all.add(connection);
  }

  function pump(): void {
    usedAt = performance.now();
    const allowed = Math.min(most, borne);
    closeFree(all.size - allowed);
    while (waiting.size > 0) {
      if (waiting.next()?.batch.sink.stopped === true) return waiting.giveUp();
      const connection = all.size - free.length < allowed ? free.pop() : undefined;
      if (connection === undefined) break;
      fetch(connection, waiting.take() as Job);
    }
    const missing = Math.min(allowed - all.size, waiting.size - free.length);
    for (let i = 0; i < missing; i++) open((waiting.next() as Job).batch.data);
    if (all.size + waiting.size > 0) watch ??= setInterval(look, LOOK);
  }

  function closeFree(count: number): void {
    for (let i = 0; i < count; i++) free.pop()?.close();
  }

  function look(): void {
    const now = performance.now();
    let isSilent = false;
    for (const connection of all) isSilent = !connection.check(now) || isSilent;
    if (isSilent) {
      mayTryAgain = false;
      waiting.giveUp();
    }
    if (borne < Infinity && mayTryAgain) {
      mayTryAgain = false;
      borne = Infinity;
      pump();
    }
    const isIdle = free.length === all.size && waiting.size === 0;
    if (isIdle && now - usedAt > IDLE) closeFree(free.length);
    if (all.size + waiting.size > 0) return;
    clearInterval(watch);
    watch = undefined;
  }

  function onAbort(): void {
    waiting.giveUp();
    for (const connection of all) connection.close();
  }

  return {
    async read(batch, sink, signal) {
      if (!isHeeded) signal.addEventListener("abort", onAbort, { once: true });
      isHeeded = true;
      const over = waiting.add(batch, sink, isForLanes);
      if (borne === 0 && !mayTryAgain) waiting.giveUp();
      else pump();
      await over;
    },
    allow(count) {
      most = count;
      pump();
    },
  };
};

function fetch(connection: LaneConnection, job: Job): void {
  const { entry, index, batch } = job;
  const timed = batch.data.times && hasTime(entry.fingerprint);
  batch.sink.request("read");
  connection.fetch({
    path: contentPath(batch.data.root, entry),
    size: entry.size as number,
    timed,
    done(content, mtime) {
      const isListed =
        content !== undefined &&
        (mtime !== undefined || !timed) &&
        matches(entry.fingerprint, { size: content.length, mtime });
      if (isListed) batch.sink.put(index, content);
      else batch.sink.failed(index, "unavailable");
      finished(job);
    },
  });
}

/** What would end a command is refused by `read`. */
function isForLanes(entry: FileEntry, { root }: LaneData): boolean {
  return (entry.size ?? Infinity) <= MOST && !/[\r\n\0]/.test(contentPath(root, entry));
}
