/**
 * Small files of an SFTP server, in a lane, over a connection of its own. In the main thread a file costs four packets of ssh and a promise for each; here
 * what is asked of many files shares packets.
 */
import type { Lane, LaneContext, OpenLane } from "@pannier/core/adapter";
import { createLaneJobs, finished, type LaneJob } from "@pannier/file-server/lane-jobs";
import type { SignIn } from "./client.ts";
import { openByteChannel } from "./lane-channel.ts";
import { createLaneFiles, type LaneFiles } from "./lane-files.ts";
import { isVersion } from "./told.ts";

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
/** Milliseconds after which a connection that was refused is tried once more. */
const AGAIN = 500;

type Job = LaneJob<LaneData>;

interface Session {
  /** Once the server speaks the protocol. */
  files: LaneFiles | undefined;
  /** When something came, and when that was a whole answer or the first question after a while. */
  heard: number;
  answered: number;
  close(): void;
}

export const openLane: OpenLane = ({ idleTimeout, atOnce }: LaneContext): Lane => {
  const waiting = createLaneJobs<LaneData>();
  let most = atOnce;
  let session: Session | undefined;
  /** No connection could be made, twice in a row: the next one would fail as well. */
  let isHopeless = false;
  /** Whether one more is tried: a server may not have closed another one yet, or refuses some while many sign in. */
  let mayTryAgain = true;
  let pause: NodeJS.Timeout | undefined;
  let isHeeded = false;

  /** If there is use in it. */
  function connect(): void {
    const next = waiting.next();
    if (next === undefined || session !== undefined || pause !== undefined) return;
    session = openSession(next.batch.data, idleTimeout, { free: pump, gone });
  }

  function gone(end: End): void {
    session = undefined;
    if (end === "refused" && mayTryAgain) {
      mayTryAgain = false;
      pause = setTimeout(() => {
        pause = undefined;
        connect();
      }, AGAIN);
      return;
    }
    if (end === "broken") mayTryAgain = true;
    else isHopeless = true;
    waiting.giveUp();
  }

  function pump(): void {
    const { files } = session ?? {};
    if (files === undefined) return;
    while (files.underWay < most) {
      const job = waiting.take();
      if (job === undefined) return;
      if (job.batch.sink.stopped) {
        finished(job);
        return waiting.giveUp();
      }
      fetch(files, job);
    }
  }

  function onAbort(): void {
    mayTryAgain = false;
    clearTimeout(pause);
    waiting.giveUp();
    session?.close();
  }

  return {
    async read(batch, sink, signal) {
      if (isHopeless || signal.aborted) return;
      if (!isHeeded) signal.addEventListener("abort", onAbort, { once: true });
      isHeeded = true;
      const over = waiting.add(batch, sink, ({ size = Infinity }) => size <= MOST);
      connect();
      pump();
      await over;
    },
    allow(count) {
      most = count;
      pump();
    },
  };
};

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

/** How a connection ended: before it could be asked for anything, or after that; `unanswered`: before, when the server was silent for too long. */
type End = "refused" | "unanswered" | "broken";

interface SessionEvents {
  /** It can be asked for more. */
  free(): void;
  /** Told once, after what was under way. */
  gone(end: End): void;
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
          session.answered = performance.now();
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
      const end = session.files !== undefined ? "broken" : isSilent ? "unanswered" : "refused";
      session.files = undefined;
      files?.abandon();
      gone(end);
    },
  });
  let files: LaneFiles | undefined;
  let isSilent = false;
  const session: Session = { files: undefined, heard: now, answered: now, close: channel.close };
  const watch = setInterval(
    () => {
      const at = performance.now();
      if (session.files?.underWay === 0) session.heard = session.answered = at;
      // A byte now and then leads nowhere.
      else if (at - session.heard > idleTimeout || at - session.answered > 2 * idleTimeout) {
        isSilent = true;
        channel.close();
      }
    },
    Math.min(LOOK, idleTimeout / 4),
  );
  return session;
}
