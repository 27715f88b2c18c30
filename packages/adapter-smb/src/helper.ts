/** A helper process, seen from the source: requests are asked of it, and it is ended when it breaks, or falls silent. */
import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { SourceError } from "@pannier/core/adapter";
import { startHelperProcess } from "@pannier/helper-process";
import { CallFailure } from "./errors.ts";
import type { Answers, Failure, Request } from "./protocol.ts";

export interface HelperInit {
  /** The program. Default: that of this package. */
  readonly script?: URL | undefined;
  /** Milliseconds that the server may be silent while it owes an answer. */
  readonly idleTimeout: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told once, when it is of no more use. */
  readonly onEnd: () => void;
}

type Answer<Op extends Request["op"]> = Answers[Op] & { readonly bytes: Buffer };

export interface Helper {
  /**
   * Asks for something; what was asked before is answered before. An abort ends the waiting only; `onLate` gets what is answered
   * after that.
   *
   * @throws CallFailure as the library gives it, SourceError `unavailable` where the process ended or the server is silent
   */
  ask<Asked extends Request>(
    request: Asked,
    signal: AbortSignal,
    onLate?: (answer: Answer<Asked["op"]>) => void,
  ): Promise<Answer<Asked["op"]>>;
  /** Asks for something whose answer is of no interest. */
  tell(request: Request): void;
  /** Answers so far, and the milliseconds that it was at work on them. */
  readonly work: { readonly answers: number; readonly time: number };
  /** Milliseconds that it has been silent though it owes an answer; `undefined` where it owes none. */
  silence(): number | undefined;
  /** Whoever waits is told why. */
  end(reason: SourceError): void;
}

interface Message {
  readonly head: object;
  readonly bytes: Buffer;
}

interface Waiting {
  readonly resolve: (message: Message) => void;
  readonly reject: (reason: unknown) => void;
}

/** Milliseconds for a process to start in, on a machine that is busy, on top of the silence that a server is allowed. */
const STARTING = 10_000;

/**
 * Milliseconds that one answer may take, however often the process stirs: a byte now and then stirs it as well. It is for a megabyte of
 * a file, or a directory's names.
 */
const LONGEST = 10 * 60_000;

/** What Kerberos needs to find tickets and its settings, and the dynamic linker the library. Nothing else is passed on. */
const VARIABLES = ["KRB5CCNAME", "KRB5_CONFIG", "KRB5_CLIENT_KTNAME", "LD_LIBRARY_PATH"];

export function startHelper({ script, idleTimeout, env, onEnd }: HelperInit): Helper {
  // Beside this file, whether that is source, built, or bundled with the program.
  const program = script ?? new URL(`./smb-helper${extname(import.meta.url)}`, import.meta.url);
  const waiting: Waiting[] = [];
  let broken: SourceError | undefined;
  let started = false;
  const work = { answers: 0, time: 0 };
  /** Since when it has been at work on what it is to answer next. */
  let began = 0;
  let heard = performance.now();
  const child = startHelperProcess<object>({
    script: program,
    env: Object.fromEntries(VARIABLES.map((name) => [name, env[name]])),
    onSign: () => {
      heard = performance.now();
      started = true;
    },
    onMessage(head, bytes) {
      const now = performance.now();
      work.answers++;
      work.time += now - began;
      began = now;
      waiting.shift()?.resolve({ head, bytes });
    },
    onEnd: (why) =>
      end(new SourceError("unavailable", `the process that talks to the server ${why}`)),
  });
  const life = watchLife(child.pid);
  const timer = setInterval(checkSilence, Math.max(20, idleTimeout / 8));

  function end(reason: SourceError): void {
    if (broken !== undefined) return;
    broken = reason;
    clearInterval(timer);
    child.kill();
    for (const { reject } of waiting.splice(0)) reject(reason);
    onEnd();
  }

  function checkSilence(): void {
    if (waiting.length === 0 || life.stirred()) heard = performance.now();
    const allowed = started ? idleTimeout : idleTimeout + STARTING;
    const now = performance.now();
    if (waiting.length > 0 && now - began > LONGEST) {
      end(tooSlow());
    } else if (now - heard > allowed) {
      end(new SourceError("unavailable", "the server did not answer in time"));
    }
  }

  function send(request: Request, one: Waiting): void {
    if (waiting.length === 0) heard = began = performance.now();
    waiting.push(one);
    child.send(request);
  }

  return {
    ask<Asked extends Request>(
      request: Asked,
      signal: AbortSignal,
      onLate?: (answer: Answer<Asked["op"]>) => void,
    ) {
      return new Promise<Answer<Asked["op"]>>((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        if (broken !== undefined) return reject(broken);
        const onAbort = () => reject(signal.reason);
        signal.addEventListener("abort", onAbort, { once: true });
        send(request, {
          resolve({ head, bytes }) {
            signal.removeEventListener("abort", onAbort);
            const answer = head as Answers[Asked["op"]] | Failure;
            if ("failed" in answer) return reject(new CallFailure(answer));
            const whole = { ...answer, bytes };
            if (signal.aborted) onLate?.(whole);
            resolve(whole);
          },
          reject(reason) {
            signal.removeEventListener("abort", onAbort);
            reject(reason);
          },
        });
      });
    },
    tell(request) {
      if (broken === undefined) send(request, { resolve: () => {}, reject: () => {} });
    },
    work,
    silence: () => (waiting.length === 0 ? undefined : performance.now() - heard),
    end,
  };
}

function tooSlow(): SourceError {
  return new SourceError("unavailable", "the server took ten minutes for one answer", {
    transient: false,
    hint: "what is that slow does not end",
  });
}

/**
 * Tells whether a process that is blocked in a call has woken since it was last looked at, which it does whenever something
 * comes from the server: a slow one is waited for, a silent one is not. Where the system does not tell, only answers count.
 */
function watchLife(pid: number | undefined): { stirred(): boolean } {
  let before = "";
  return {
    stirred() {
      let now = before;
      try {
        const status = readFileSync(`/proc/${pid}/status`, "latin1");
        now = /^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1] ?? before;
      } catch {
        // It has ended, or there is no such file here.
      }
      const stirred = now !== before;
      before = now;
      return stirred;
    },
  };
}
