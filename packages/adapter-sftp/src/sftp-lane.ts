/**
 * Small files of an SFTP server, in a lane, over a connection of its own. In the main thread a file costs four packets of ssh and a promise for each; here
 * what is asked of many files shares packets.
 */
import type { FileEntry, Lane, LaneContext, OpenLane, Sink } from "@pannier/core/adapter";
import type { SignIn } from "./client.ts";
import { isVersion } from "./kind.ts";
import { openByteChannel } from "./lane-channel.ts";
import { createLaneFiles, type LaneFiles } from "./lane-files.ts";

export interface LaneData {
  readonly signIn: SignIn;
  /** The source's path on the server, without a `/` at the end. */
  readonly root: string;
  /** Bytes that one read may ask for. */
  readonly readSize: number;
}

/** Bytes; of larger ones the time is looked at before they are read as well, which is for `read`. */
const MOST = 256 * 1024;
/** Milliseconds between looks at a connection that may have fallen silent. */
const LOOK = 500;

interface Job {
  readonly index: number;
  readonly entry: FileEntry;
  readonly batch: Batch;
}

interface Batch {
  readonly data: LaneData;
  readonly sink: Sink;
  left: number;
  over(): void;
}

interface Session {
  /** Once the server speaks the protocol. */
  files: LaneFiles | undefined;
  /** When something came, and when that was a whole answer or the first question after a while. */
  heard: number;
  answered: number;
  close(): void;
}

export const openLane: OpenLane = ({ idleTimeout, atOnce }: LaneContext): Lane => {
  /** Files that wait, the last first. */
  let waiting: Job[] = [];
  let most = atOnce;
  let session: Session | undefined;
  /** No connection could be made: the next one would fail as well. */
  let isHopeless = false;
  let isHeeded = false;

  /** What waits is left to `read`. */
  function giveUp(): void {
    const left = waiting;
    waiting = [];
    left.forEach(finished);
  }

  function open(data: LaneData): Session {
    return openSession(data, idleTimeout, {
      free: pump,
      gone(wasReady) {
        session = undefined;
        isHopeless ||= !wasReady;
        giveUp();
      },
    });
  }

  function pump(): void {
    const { files } = session ?? {};
    if (files === undefined) return;
    while (waiting.length > 0 && files.underWay < most) {
      const job = waiting.pop() as Job;
      if (job.batch.sink.stopped) {
        finished(job);
        return giveUp();
      }
      fetch(files, job);
    }
  }

  function fetch(files: LaneFiles, job: Job): void {
    const { index, entry, batch } = job;
    const { data, sink } = batch;
    sink.request("read");
    files.fetch({
      path: `${data.root}/${entry.path}`,
      size: entry.size as number,
      done(content, sent) {
        if (content !== undefined && isVersion(entry, sent)) sink.put(index, content);
        else sink.failed(index, "unavailable");
        finished(job);
      },
    });
  }

  function onAbort(): void {
    giveUp();
    session?.close();
  }

  return {
    read({ files, data }, sink, signal) {
      return new Promise((resolve) => {
        const batch: Batch = { data: data as LaneData, sink, left: 0, over: resolve };
        const jobs: Job[] = [];
        files.forEach((entry, index) => {
          if ((entry.size ?? Infinity) <= MOST) jobs.push({ index, entry, batch });
        });
        if (jobs.length === 0 || isHopeless || signal.aborted) return resolve();
        batch.left = jobs.length;
        waiting = [...jobs.toReversed(), ...waiting];
        if (!isHeeded) signal.addEventListener("abort", onAbort, { once: true });
        isHeeded = true;
        session ??= open(batch.data);
        pump();
      });
    },
    allow(count) {
      most = count;
      pump();
    },
  };
};

function finished({ batch }: Job): void {
  if (--batch.left === 0) batch.over();
}

interface SessionEvents {
  /** It can be asked for more. */
  free(): void;
  /** Told once, after what was under way. @param wasReady whether it ever could be asked for anything */
  gone(wasReady: boolean): void;
}

function openSession(
  { signIn, readSize }: LaneData,
  idleTimeout: number,
  { free, gone }: SessionEvents,
): Session {
  const now = performance.now();
  const channel = openByteChannel(signIn, {
    ready() {
      files = createLaneFiles({
        readSize,
        write: channel.write,
        onReady() {
          session.files = files;
          free();
        },
        onAnswer() {
          session.answered = performance.now();
        },
      });
    },
    sign() {
      session.heard = performance.now();
    },
    came(bytes) {
      if (files?.take(bytes) === true) free();
      else channel.close();
    },
    gone() {
      clearInterval(watch);
      const wasReady = session.files !== undefined;
      session.files = undefined;
      files?.abandon();
      gone(wasReady);
    },
  });
  let files: LaneFiles | undefined;
  const session: Session = { files: undefined, heard: now, answered: now, close: channel.close };
  const watch = setInterval(
    () => {
      const at = performance.now();
      if (session.files?.underWay === 0) session.heard = session.answered = at;
      // A byte now and then leads nowhere.
      else if (at - session.heard > idleTimeout || at - session.answered > 2 * idleTimeout)
        channel.close();
    },
    Math.min(LOOK, idleTimeout / 4),
  );
  return session;
}
