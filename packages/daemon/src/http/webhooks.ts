/** Webhooks: who calls, and which mounts are meant. */
import type { IncomingHttpHeaders } from "node:http";
import type { Location } from "@pannier/core";
import type { Mount } from "../mount.ts";
import { basicPassword, bearer, isSame } from "./auth.ts";

/** What a caller shows of the secret: the secret itself, or the HMAC-SHA-256 of the body by it, in hex digits. */
export type Proof = { readonly secret: string } | { readonly signature: string };

/**
 * How each forge proves who it is, told by its headers alone: where there is nothing, no body is read.
 *
 * github: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 * gitlab: https://docs.gitlab.com/user/project/integrations/webhooks/
 * bitbucket: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/ and, of Data Center, https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
 * gitea: https://docs.gitea.com/usage/webhooks; Forgejo sends the same header
 * azure-devops: https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks
 */
const PROOFS = {
  github: (headers) => signature(headers, "x-hub-signature-256", "sha256="),
  gitlab: (headers) => token(one(headers["x-gitlab-token"])),
  bitbucket: (headers) => signature(headers, "x-hub-signature", "sha256="),
  gitea: (headers) => signature(headers, "x-gitea-signature", ""),
  "azure-devops": (headers) => token(basicPassword(headers.authorization)),
  generic: (headers) =>
    headers["x-hub-signature-256"] === undefined
      ? token(bearer(headers.authorization))
      : signature(headers, "x-hub-signature-256", "sha256="),
} satisfies Record<string, (headers: IncomingHttpHeaders) => Proof | undefined>;

export type Forge = keyof typeof PROOFS;

export const FORGES = Object.keys(PROOFS) as readonly Forge[];

export function proofOf(forge: Forge, headers: IncomingHttpHeaders): Proof | undefined {
  return PROOFS[forge](headers);
}

function signature(headers: IncomingHttpHeaders, name: string, prefix: string): Proof | undefined {
  const text = one(headers[name]) ?? "";
  const digits = text.slice(prefix.length);
  if (!text.startsWith(prefix) || !/^[0-9a-f]{64}$/i.test(digits)) return undefined;
  return { signature: digits.toLowerCase() };
}

function token(secret: string | undefined): Proof | undefined {
  return secret === undefined ? undefined : { secret };
}

/** @param signed the signature that the body ought to have */
export function isGenuine(proof: Proof, secret: string, signed: string): boolean {
  return "secret" in proof ? isSame(proof.secret, secret) : isSame(proof.signature, signed);
}

/** A forge that only tries whether somebody is there. */
export function isPing(headers: IncomingHttpHeaders): boolean {
  return headers["x-github-event"] === "ping" || headers["x-event-key"] === "diagnostics:ping";
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

export interface Call {
  readonly headers: IncomingHttpHeaders;
  /** `undefined` where it is too long to be held. */
  readonly body: readonly Uint8Array[] | undefined;
  readonly query: URLSearchParams;
}

/**
 * The mounts that a call is about; `undefined` where the body makes no sense. All of them where it does not tell, or is too long to be
 * looked at: that costs each of them a question.
 */
export function mountsMeant(
  forge: Forge,
  call: Call,
  mounts: readonly Mount[],
): readonly Mount[] | undefined {
  if (forge === "generic") {
    const names = call.query.getAll("mount");
    return names.length === 0 ? mounts : mounts.filter(({ config }) => names.includes(config.name));
  }
  if (call.body === undefined) return mounts;
  const urls = repositoryUrls(payloadOf(call.headers, call.body));
  if (urls === undefined) return undefined;
  if (urls.length === 0) return mounts;
  const wanted = new Set(urls.map(normaliseUrl));
  return mounts.filter(({ layers }) =>
    layers.some(({ source }) => wanted.has(normaliseLocation(source.location))),
  );
}

const FIELDS = [
  "clone_url",
  "ssh_url",
  "git_url",
  "html_url",
  "git_http_url",
  "git_ssh_url",
  "web_url",
  "http_url",
  "homepage",
  "url",
  // Azure DevOps
  "remoteUrl",
  "sshUrl",
];

/** GitHub and Gitea send it as a form where that is chosen, which at GitHub it is unless somebody chooses JSON. */
function payloadOf(headers: IncomingHttpHeaders, body: readonly Uint8Array[]): string {
  const text = Buffer.concat(body).toString();
  const isForm = headers["content-type"]?.startsWith("application/x-www-form-urlencoded") === true;
  return isForm ? (new URLSearchParams(text).get("payload") ?? "") : text;
}

type Json = Readonly<Record<string, unknown>>;

function asObject(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null ? (value as Json) : undefined;
}

/** Of `repository`, GitLab's `project` and Azure DevOps's `resource.repository`. */
function repositoryUrls(text: string): string[] | undefined {
  let payload: Json | undefined;
  try {
    payload = asObject(JSON.parse(text));
  } catch {
    // Not JSON.
  }
  if (payload === undefined) return undefined;
  const told = [
    payload["repository"],
    payload["project"],
    asObject(payload["resource"])?.["repository"],
  ];
  return told.flatMap((part) => {
    const repository = asObject(part);
    if (repository === undefined) return [];
    const fields = FIELDS.map((field) => repository[field]);
    return [...fields, ...linksOf(repository)].filter((url) => typeof url === "string");
  });
}

/** Bitbucket's: of Cloud `html`, of Data Center a list of `clone`, and `self`, which is the page. */
function linksOf(repository: Json): unknown[] {
  const links = asObject(repository["links"]);
  return ["html", "clone", "self"].flatMap((name) =>
    [links?.[name]].flat().map((link) => asObject(link)?.["href"]),
  );
}

/** A repository is the same one over https and ssh: what counts is host and path. */
function normaliseUrl(url: string): string {
  const [, host, path] =
    /^[a-z][a-z0-9+.-]*:\/\/(?:[^@/]*@)?([^:/?#]*)(?::\d+)?\/([^?#]*)/i.exec(url) ??
    /^(?:[^@/]*@)?([^:/]+):([^?#]*)$/.exec(url) ??
    [];
  return normalise(host ?? "", path ?? "");
}

function normaliseLocation({ host, pathname }: Location): string {
  return normalise(host, pathname);
}

function normalise(host: string, path: string): string {
  const lower = host.toLowerCase();
  const parts = decoded(path.replace(/^\/+|\/+$/g, "").replace(/\.git$/i, ""))
    .toLowerCase()
    .split("/");
  const [named, place] = ofAzure(lower, parts) ?? [lower, ofBitbucket(parts)];
  return `${named}/${place.join("/")}`;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Data Center: `scm/KEY/NAME` over https, `KEY/NAME` over ssh, `projects/KEY/repos/NAME/browse` as a page, with `users/NAME` for `~NAME`. */
function ofBitbucket(parts: readonly string[]): readonly string[] {
  const [first = "", key = "", repos, name = ""] = parts;
  if (first === "scm") return parts.slice(1);
  if (repos !== "repos") return parts;
  if (first === "projects") return [key, name];
  return first === "users" ? [`~${key}`, name] : parts;
}

/** Azure DevOps has one repository under several hosts and forms; on servers of one's own only `_git` is to be left out. */
function ofAzure(
  host: string,
  parts: readonly string[],
): readonly [host: string, parts: readonly string[]] | undefined {
  const tenant = /^(.+)\.visualstudio\.com$/.exec(host)?.[1];
  const isSsh = /^(vs-)?ssh\./.test(host) && parts[0] === "v3";
  const place = isSsh ? parts.slice(1) : tenant === undefined ? parts : [tenant, ...parts];
  const isCloud = tenant !== undefined || host.endsWith("dev.azure.com");
  if (!isCloud && !place.includes("_git")) return undefined;
  const [organisation = "", ...rest] = place.filter((part) => part !== "defaultcollection");
  const at = rest.indexOf("_git");
  // A repository that is called as its project is may be named without it.
  const named =
    at === 0 ? [rest[1] ?? "", ...rest.slice(1)] : rest.filter((part) => part !== "_git");
  return [isCloud ? "dev.azure.com" : host, [organisation, ...named]];
}
