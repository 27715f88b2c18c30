/** Whether there is a server, asked before libnfs is let loose on it. */
import { lookup } from "node:dns/promises";
import { SourceError } from "@pannier/core/adapter";
import { ping, type PingTarget } from "./ping.ts";

export interface ServerCheck {
  /** The address at which the server answered. It is asked once, until {@link ServerCheck.forget}. @throws SourceError */
  address(): Promise<string>;
  /** The next caller asks again. */
  forget(): void;
  /** Ends the question under way: who waits for it fails. */
  giveUp(): void;
}

export function checkServer(target: PingTarget): ServerCheck {
  let current: { readonly done: Promise<string>; readonly stop: AbortController } | undefined;

  function begin(): NonNullable<typeof current> {
    const stop = new AbortController();
    const made = { done: pingFirst(target, stop.signal), stop };
    made.done.catch(() => {
      if (current === made) current = undefined;
    });
    return made;
  }

  return {
    address: () => (current ??= begin()).done,
    forget() {
      current = undefined;
    },
    giveUp() {
      current?.stop.abort(new SourceError("unavailable", "the wait for the server was abandoned"));
    },
  };
}

/** Of a host's addresses, the first at which there is a server. */
async function pingFirst(pingTarget: PingTarget, signal: AbortSignal): Promise<string> {
  let failure: unknown;
  for (const address of await resolve(pingTarget.host)) {
    try {
      await ping({ ...pingTarget, host: address }, signal);
      return address;
    } catch (error) {
      signal.throwIfAborted();
      failure ??= error;
    }
  }
  throw failure;
}

async function resolve(host: string): Promise<string[]> {
  try {
    const found = await lookup(host.replace(/^\[|\]$/g, ""), { all: true });
    return found.map(({ address }) => address);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTFOUND") {
      throw new SourceError("unavailable", "the host name is not known", {
        hint: "check the host in the URL",
        cause: error,
      });
    }
    throw new SourceError("unavailable", "the host name cannot be resolved at the moment", {
      cause: error,
    });
  }
}
