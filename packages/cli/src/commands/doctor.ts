/** `pannier doctor`: a source tried step by step, so that the one that fails says what is wrong. */
import { access, constants } from "node:fs/promises";
import {
  type Credentials,
  describeFailure,
  describeSource,
  type Entry,
  type Failure,
  failureLine,
  type FileEntry,
  InternalError,
  inVariables,
  type Source,
  type SourceError,
  type SourceSpec,
  UsageError,
} from "@pannier/core";
import { resolveSources } from "../choose-adapter.ts";
import { credentialVariables, oneSource, terminalFromEnvironment } from "../environment.ts";
import type { Invocation } from "../invocation.ts";
import { withSource, withTimeout } from "../open.ts";
import { count, formatBytes, formatDuration, grouped } from "../format.ts";

/** Milliseconds for the whole; somebody is waiting for the answer. */
const TIMEOUT = 60_000;
/** Entries looked at, and bytes read: enough to see that it works. */
const ENOUGH_ENTRIES = 1000;
const ENOUGH_BYTES = 64 * 1024;

interface Step {
  readonly step: "resolve" | "credentials" | "identity" | "connect" | "sign in" | "list" | "read";
  readonly ok: boolean;
  readonly detail: string;
  readonly milliseconds: number;
}

/** A source, and how it is to be opened. */
interface Subject {
  readonly url: string;
  readonly adapter: string | undefined;
  /** See `resolveSources`. */
  readonly insist?: boolean | undefined;
  /** Relative paths are relative to it. */
  readonly cwd: string;
  /** Those of the configuration; none: those of the environment. */
  readonly credentials?: Credentials | undefined;
}

/** Of several sources, each is tried; the exit code is that of the first that fails. */
export async function run(invocation: Invocation): Promise<number> {
  let exitCode = 0;
  for (const subject of await subjectsOf(invocation)) {
    const code = await examine(invocation, subject);
    exitCode ||= code;
  }
  return exitCode;
}

/** @throws UsageError */
async function subjectsOf(invocation: Invocation): Promise<readonly Subject[]> {
  const { args, settings, context, redact } = invocation;
  // In a hook, PANNIER_MOUNT is what the hook is about.
  const isOfHook = args.length > 0 && settings.mount === context.env["PANNIER_MOUNT"];
  const name = isOfHook ? undefined : settings.mount;
  if (name === undefined)
    return [{ url: oneSource(context.env, args[0]), adapter: settings.adapter, cwd: context.cwd }];
  if (args.length > 0)
    throw new UsageError("there is a SOURCE, and --mount as well", "leave one of them out");
  const { configFile, folderOf, readConfig } = await import("../configuration.ts");
  const file = configFile(invocation);
  const { mounts } = await readConfig(invocation, file);
  const mount = mounts.find((one) => one.name === name);
  if (mount === undefined)
    throw new UsageError(
      `there is no mount "${name}"`,
      `those of the configuration: ${mounts.map((one) => one.name).join(", ")}`,
    );
  return mount.sources.map(({ url, adapter, credentials }) => {
    redact.learn([url], [credentials?.password, credentials?.askpassUrl]);
    const chosen = adapter === undefined ? mount.adapter : { name: adapter, isOwn: true };
    return {
      url,
      adapter: chosen?.name,
      insist: chosen?.isOwn,
      cwd: folderOf(file, context.cwd),
      credentials,
    };
  });
}

async function examine(given: Invocation, subject: Subject): Promise<number> {
  const { settings, context, print, printJson, redact } = given;
  const invocation = { ...given, credentials: subject.credentials ?? given.credentials };
  const signal = withTimeout(invocation.signal, settings.timeout ?? TIMEOUT);
  const steps: Step[] = [];
  const { color } = terminalFromEnvironment(context.env);
  const paint = color && context.stdout.isTTY === true;

  const tellStep = async (told: Step) => {
    steps.push(told);
    if (settings.json !== true) await print(redact(toLine(told, paint)));
  };

  /** Runs one step and tells how it went; a failure ends the run after being told. */
  const attempt: Attempt = async (step, work, start = performance.now()) => {
    const tell = (ok: boolean, detail: string) =>
      tellStep({ step, ok, detail, milliseconds: Math.round(performance.now() - start) });
    try {
      const [result, detail] = await work();
      if (detail !== undefined) await tell(true, detail);
      return result;
    } catch (error) {
      invocation.signal.throwIfAborted();
      const failure = describeFailure(signal.aborted ? signal.reason : error, "variables");
      if (failure.code === "bug") throw error;
      // Whoever asks what is wrong should see each failure, and at once.
      const once = !signal.aborted && (error as Partial<SourceError>).transient === true;
      await tell(
        false,
        failureLine(failure, "") + (once ? ". Tried once; a sync tries again" : ""),
      );
      throw new StepFailed(failure, error);
    }
  };

  let spec: SourceSpec | undefined;
  let failure: Failure | undefined;
  try {
    const chosen = await attempt("resolve", async () => {
      const { url, adapter, insist, cwd } = subject;
      const [found] = await resolveSources([url], { adapter, insist, cwd });
      return [found as SourceSpec, describe(found as SourceSpec)];
    });
    spec = chosen;
    await attempt("credentials", async () => [
      undefined,
      await credentialsUsed(chosen, invocation, subject.credentials),
    ]);
    await withSource(chosen, invocation, async ({ source }) => {
      const { identity } = source;
      if (identity !== undefined) {
        await attempt("identity", async () => {
          const told = await identity(signal);
          return [undefined, told === undefined ? undefined : inVariables(told)];
        });
      }
      const file = await askSource(source, chosen, signal, attempt);
      if (file !== undefined) await attempt("read", () => readSome(source, file, signal));
    }).catch((error: unknown) => {
      // `open` itself may find the source to be impossible.
      if (error instanceof StepFailed || describeFailure(error).code === "bug") throw error;
      return attempt("connect", () => Promise.reject(error as Error));
    });
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    failure = error.failure;
  }
  if (settings.json === true)
    await printJson({
      ok: failure === undefined,
      source: spec === undefined ? undefined : describeSource(spec),
      adapter: spec?.adapter.name,
      steps,
      error: failure,
    });
  return failure?.exitCode ?? 0;
}

/**
 * @param work resolves with what it found, and with what to tell of it; nothing: the step is not told of
 * @param since when it began, where that is known already
 * @throws StepFailed, once it is told
 */
type Attempt = <Result>(
  step: Step["step"],
  work: () => Promise<readonly [Result, string | undefined]>,
  since?: number,
) => Promise<Result>;

/**
 * Connects, signs in and lists. To a source these are one request, so what is ticked is what its outcome proves: what came, or
 * how far a failure says that it got.
 *
 * @returns a file of the source, if there is one
 */
async function askSource(
  source: Source,
  { location }: SourceSpec,
  signal: AbortSignal,
  attempt: Attempt,
): Promise<FileEntry | undefined> {
  const since = performance.now();
  const begun = await begin(source, signal);
  const failed = begun.error === undefined ? undefined : failedStep(begun, begun.error);
  const fail = (step: Step["step"]) =>
    attempt(step, () => Promise.reject(begun.error as Error), since);
  // Nobody is asked on this machine.
  if (location.host !== "") {
    if (failed === "connect") await fail("connect");
    if (failed === "sign in" && (begun.error as Partial<SourceError>).reached === undefined)
      await fail("sign in");
    await attempt("connect", async () => [undefined, begun.answer], since);
    if (failed === "sign in") await fail("sign in");
    await attempt("sign in", async () => [undefined, "the server accepts it"]);
  }
  if (begun.error !== undefined) await fail("list");
  return attempt("list", () => listSome(begun, signal));
}

interface Begun {
  /** What there is to say of the first answer. */
  answer: string;
  /** Whether something came that only who is let in can have. */
  isLetIn: boolean;
  error?: unknown;
  batches: AsyncIterator<readonly Entry[]> | undefined;
  first: readonly Entry[] | undefined;
}

/** Asks until something comes that proves that the source can be had. */
async function begin(source: Source, signal: AbortSignal): Promise<Begun> {
  const begun: Begun = {
    answer: "the server answers",
    isLetIn: false,
    batches: undefined,
    first: undefined,
  };
  try {
    const found = await source.probe(signal);
    begun.isLetIn = found !== undefined;
    if (found?.revision !== undefined) begun.answer += `; its revision is ${found.revision}`;
    const { entries } = await source.list(signal);
    begun.batches = (async function* all() {
      yield* entries;
    })();
    const { done, value } = await begun.batches.next();
    if (done !== true) begun.first = value;
    begun.isLetIn = true;
  } catch (error) {
    begun.error = error;
  }
  return begun;
}

function failedStep({ isLetIn }: Begun, error: unknown): "connect" | "sign in" | "list" {
  if (isLetIn) return "list";
  const { name, code, reached } = error as Partial<SourceError>;
  if (name !== "SourceError") return "connect";
  const isAnswer = code === "not-found" || code === "changed" || code === "invalid";
  if (reached === "signed-in" || isAnswer) return "list";
  return reached === "answered" || code === "auth" ? "sign in" : "connect";
}

class StepFailed extends InternalError {
  readonly failure: Failure;
  constructor(failure: Failure, cause: unknown) {
    super(failure.message, { cause });
    this.failure = failure;
  }
}

function toLine({ step, ok, detail, milliseconds }: Step, paint: boolean): string {
  const mark = ok ? "✓" : "✗";
  const painted = paint ? `\u001b[${ok ? 32 : 31}m${mark}\u001b[39m` : mark;
  return `${painted} ${step.padEnd(11)}  ${detail}${milliseconds < 50 ? "" : `  (${formatDuration(milliseconds)})`}`;
}

function describe(spec: SourceSpec): string {
  return `${describeSource(spec)} is for the ${spec.adapter.name} adapter`;
}

/** Says which credentials are there, never what they are. */
async function credentialsUsed(
  spec: SourceSpec,
  { credentials, context }: Invocation,
  own: Credentials | undefined,
): Promise<string> {
  await checkFiles(credentials);
  const used =
    own === undefined
      ? credentialVariables(context.env)
      : Object.entries(own).flatMap(([key, value]) =>
          value === undefined ? [] : [`${key} of the configuration`],
        );
  if (spec.location.password !== undefined) used.unshift("the password in the URL");
  else if (spec.location.username !== undefined) used.unshift("the user name in the URL");
  return used.length === 0 ? "none set: the source uses its own" : used.join(", ");
}

async function checkFiles(credentials: Credentials): Promise<void> {
  const files = Object.entries(credentials).filter(
    ([name, path]) => name.endsWith("File") && path !== undefined,
  );
  for (const [, path] of files as [string, string][]) {
    await access(path, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(
        `the credentials file ${path} cannot be read (${error.code})`,
        "check its path and its mode",
        { cause: error },
      );
    });
  }
}

async function listSome(
  { first, batches }: Begun,
  signal: AbortSignal,
): Promise<readonly [FileEntry | undefined, string]> {
  let file: FileEntry | undefined;
  let entries = 0;
  for (let batch = first; batch !== undefined;) {
    signal.throwIfAborted();
    entries += batch.length;
    file ??= batch.find((entry): entry is FileEntry => entry.kind === "file");
    if (entries >= ENOUGH_ENTRIES && file !== undefined) break;
    const next = await batches?.next();
    batch = next?.done === false ? next.value : undefined;
  }
  await batches?.return?.();
  const found =
    entries < ENOUGH_ENTRIES
      ? count(entries, "entry")
      : `${grouped(entries)} entries and maybe more`;
  return [file, found];
}

async function readSome(
  source: Source,
  file: FileEntry,
  signal: AbortSignal,
): Promise<readonly [undefined, string]> {
  // Not every server gives parts of a file, and a short one needs none.
  const isLong = file.size !== undefined && file.size > ENOUGH_BYTES;
  const range = isLong ? { offset: 0, length: ENOUGH_BYTES } : undefined;
  const body = await source.read(file, range, signal);
  let bytes = 0;
  if (body instanceof Uint8Array) bytes = body.byteLength;
  else
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      if (bytes >= ENOUGH_BYTES) break;
    }
  return [undefined, `${formatBytes(bytes)} of ${file.path}`];
}
