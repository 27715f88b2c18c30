/** From a request to its answer. */
import type { IncomingMessage } from "node:http";
import { describeFailure } from "@pannier/core";
import type { HttpConfig } from "../config/config.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Mount } from "../mount.ts";
import type { Outcome } from "../outcomes.ts";
import type { DaemonInit } from "../daemon-init.ts";
import { bearer, isSame, secretOf, tokenOf } from "./auth.ts";
import { type Bodies, createBodies } from "./body.ts";
import { asset, page } from "./dashboard.ts";
import { livez, readyz } from "./probes.ts";
import { json, plain, type Reply } from "./reply.ts";
import { createHistories } from "./history.ts";
import { oncePerTurn } from "./once-per-turn.ts";
import { type ConfigStatus, mountStatus } from "./status.ts";
import { type Forge, FORGES, isGenuine, isPing, mountsMeant, proofOf } from "./webhooks.ts";

export interface RoutesInit {
  readonly version: string;
  readonly log: DaemonInit["log"];
  readonly metrics: Metrics;
  readonly mounts: () => readonly Mount[];
  readonly lingering: () => readonly Mount[];
  readonly config: () => ConfigStatus;
  /** What is configured of the port now. */
  readonly http: () => HttpConfig | undefined;
}

/** What lives as long as the port. */
export interface Routes {
  /** @returns the answer; `undefined` where there is nothing at this address */
  answer(request: IncomingMessage, http: HttpConfig): Promise<Reply | undefined>;
}

export function createRoutes(init: RoutesInit): Routes {
  const tools: Tools = {
    ...init,
    bodies: createBodies(),
    histories: createHistories(),
    refused: createSparing((message) => init.log("warn", message)),
    status: oncePerTurn(() => JSON.stringify(statusOf(init))),
  };
  return { answer: (request, http) => route(request, http, tools) };
}

/** Milliseconds between two lines of the log that strangers bring about. */
const SPARING = 10_000;

/** The first at once; of those that follow within the time, only how many there were. */
function createSparing(log: (message: string) => void): (message: string) => void {
  let last = Number.NEGATIVE_INFINITY;
  let kept = 0;
  return (message) => {
    if (performance.now() - last < SPARING) {
      kept++;
      return;
    }
    log(kept === 0 ? message : `${message} (and ${kept} more before it)`);
    last = performance.now();
    kept = 0;
  };
}

interface Tools extends RoutesInit {
  readonly bodies: Bodies;
  readonly histories: ReturnType<typeof createHistories>;
  /** Tells of a caller that was refused. */
  readonly refused: (message: string) => void;
  readonly status: () => string;
}

/** A request as its handler gets it. */
interface Call {
  readonly request: IncomingMessage;
  readonly http: HttpConfig;
  readonly init: Tools;
  /** What stands for the `*` of the path; the path's last part where there is none. */
  readonly name: string;
  readonly query: URLSearchParams;
}

/** @returns `undefined` where there is nothing at this address after all */
type Handler = (call: Call) => Promise<Reply | undefined> | Reply | undefined;

/** GET stands for HEAD too. */
const ROUTES: readonly (readonly [method: "GET" | "POST", path: string, handler: Handler])[] = [
  ["GET", "/", ({ http }) => (http.dashboard ? page() : undefined)],
  ["GET", "/assets/*", ({ http, name }) => (http.dashboard ? asset(name) : undefined)],
  ["GET", "/livez", ({ init }) => livez(init.mounts(), init.lingering())],
  ["GET", "/readyz", ({ init, query }) => readyz(init.mounts(), query)],
  ["GET", "/metrics", metrics],
  ["GET", "/status", ({ init }) => ({ status: 200, body: `${init.status()}\n` })],
  ["GET", "/history/*", history],
  ["POST", "/sync", (call) => sync(call, call.init.mounts())],
  ["POST", "/sync/*", (call) => sync(call, mountsNamed(call))],
  ["POST", "/rollback/*", rollback],
  ...FORGES.map((forge) => ["POST", `/hooks/${forge}`, webhookOf(forge)] as const),
];

async function route(
  request: IncomingMessage,
  http: HttpConfig,
  init: Tools,
): Promise<Reply | undefined> {
  // Not by URL, which takes `//host/` for a host, and may throw.
  const [path = "", search = ""] = (request.url ?? "/").split("?", 2);
  const start = path.lastIndexOf("/") + 1;
  const forms = [path, `${path.slice(0, start)}*`];
  const found = ROUTES.find(([, form]) => forms.includes(form));
  if (found === undefined) return undefined;
  const [method, , handle] = found;
  const allowed = method === "GET" ? ["GET", "HEAD"] : [method];
  if (!allowed.includes(request.method ?? "")) return notAllowed(allowed.join(", "));
  const query = new URLSearchParams(search);
  return await handle({ request, http, init, name: path.slice(start), query });
}

async function metrics({ init }: Call): Promise<Reply> {
  const body = await init.metrics.render(init.mounts());
  return { status: 200, body, type: "text/plain; version=0.0.4; charset=utf-8" };
}

async function history(call: Call): Promise<Reply | undefined> {
  const [mount] = mountsNamed(call);
  return mount === undefined ? undefined : call.init.histories.of(mount);
}

function mountsNamed({ init, name }: Call): readonly Mount[] {
  return init.mounts().filter(({ config }) => config.name === name);
}

export function statusOf({ version, mounts, config, http }: RoutesInit): unknown {
  const { loaded, error } = config();
  return {
    version,
    time: new Date().toISOString(),
    config: { loadedAt: loaded.toISOString(), error: error ?? null },
    triggers: http()?.triggerTokenFile !== undefined,
    mounts: mounts().map(mountStatus),
  };
}

function notAllowed(methods: string): Reply {
  return { ...plain(405, `only ${methods}`), headers: { allow: methods } };
}

function unauthorized(error = "unauthorized"): Reply {
  return { ...json(401, { error }), headers: { "www-authenticate": "Bearer" } };
}

/** Tells no more than `/status`, whose `triggers` says whether there is a token. */
function whyNot({ http }: Call): string {
  return http.triggerTokenFile === undefined
    ? "unauthorized: set PANNIER_TRIGGER_TOKEN_FILE or http.triggerTokenFile to allow this call"
    : "unauthorized: the token of Authorization: Bearer is missing or wrong";
}

async function mayTrigger({ request, http }: Call): Promise<boolean> {
  const token = await tokenOf(http.triggerTokenFile);
  return isSame(bearer(request.headers.authorization), token);
}

/** For callers with the token, who may know what there is. */
function noMount({ init, name }: Call): Reply {
  const names = init.mounts().map(({ config }) => config.name);
  return json(404, { error: `no mount is called "${name}". There is: ${names.join(", ")}` });
}

async function rollback(call: Call): Promise<Reply | undefined> {
  const { init, name, query } = call;
  if (!(await mayTrigger(call))) return unauthorized(whyNot(call));
  const [mount] = mountsNamed(call);
  if (mount === undefined) return noMount(call);
  try {
    const now = await mount.rollback(query.get("revision") ?? undefined);
    const { revision, added, changed, deleted } = now;
    init.log("info", "rolled back", { mount: name, revision, added, changed, deleted });
    return json(200, { name, revision, added, changed, deleted });
  } catch (error) {
    return json(409, { name, error: describeError(mount, error) });
  }
}

async function sync(call: Call, mounts: readonly Mount[]): Promise<Reply | undefined> {
  const { init, query } = call;
  if (!(await mayTrigger(call))) return unauthorized(whyNot(call));
  if (mounts.length === 0) return noMount(call);
  const wait = query.get("wait");
  const outcomes =
    wait === "1" || wait === "true" ? mounts.map((mount) => mount.nextOutcome()) : [];
  for (const mount of mounts) mount.trigger();
  init.metrics.triggered("sync", mounts.length);
  if (outcomes.length === 0)
    return json(202, { triggered: mounts.map(({ config }) => config.name) });
  const ended = (await Promise.all(outcomes)).map((outcome, index) =>
    describeOutcome(mounts[index] as Mount, outcome),
  );
  const worst = Math.max(...ended.map(({ status }) => status));
  return json(worst, { mounts: ended.map(({ told }) => told) });
}

function describeError({ config }: Mount, error: unknown): unknown {
  const { code, message, hint, source } = describeFailure(error, "variables");
  const hide = (text: string | undefined) => text?.replaceAll(config.options.target, "TARGET");
  return { code, message: hide(message), hint: hide(hint), source };
}

function describeOutcome(
  mount: Mount,
  outcome: Outcome,
): { readonly status: number; readonly told: unknown } {
  const { name } = mount.config;
  if ("result" in outcome) {
    const { result, revision, previousRevision, added, changed, deleted, duration } =
      outcome.result;
    return {
      status: 200,
      told: {
        name,
        result,
        revision,
        previousRevision,
        added,
        changed,
        deleted,
        duration: duration / 1000,
      },
    };
  }
  if ("stopped" in outcome) return { status: 503, told: { name, result: "stopped" } };
  const error = describeError(mount, outcome.error);
  return { status: 502, told: { name, result: "failed", error } };
}

function webhookOf(forge: Forge): Handler {
  return (call) => webhook(call, forge);
}

async function webhook({ request, http, init, query }: Call, forge: Forge): Promise<Reply> {
  const { headers } = request;
  const secret = await secretOf(http.webhookSecretFile);
  const proof = proofOf(forge, headers);
  const refuse = () => {
    const why =
      secret === undefined ? "no secret is configured" : "its signature or token is wrong";
    init.refused(`a call of the ${forge} webhook was refused: ${why}`);
    return unauthorized();
  };
  // Nothing is read of whom the headers tell already that it is not meant.
  if (secret === undefined || proof === undefined) return refuse();
  if ("secret" in proof && !isGenuine(proof, secret, "")) return refuse();
  const body = await init.bodies.read(request, secret);
  if (body === undefined) return json(413, { error: "too large" });
  if (!isGenuine(proof, secret, body.signature)) return refuse();
  if (isPing(headers)) return json(200, { triggered: [] });
  const mounts = mountsMeant(forge, { headers, body: body.content, query }, init.mounts());
  if (mounts === undefined) return json(400, { error: "the body is not a JSON object" });
  for (const mount of mounts) mount.trigger();
  init.metrics.triggered(forge, mounts.length);
  if (mounts.length === 0) init.log("info", `a call of the ${forge} webhook matches no mount`);
  return json(202, { triggered: mounts.map(({ config }) => config.name) });
}
