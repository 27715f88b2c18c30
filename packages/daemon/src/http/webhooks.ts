/** Webhooks: who calls, and which mounts are meant. */
import type { IncomingHttpHeaders } from "node:http";
import type { Location } from "@pannier/core";
import type { Mount } from "../mount.ts";
import { bearer, isSame, isSigned } from "./auth.ts";

export type Forge = "github" | "gitlab" | "generic";

export interface Call {
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
  readonly query: URLSearchParams;
}

/** Nothing of the body is looked at before this has said yes. */
export function isGenuine(
  forge: Forge,
  { headers, body }: Call,
  secret: string | undefined,
): boolean {
  const signature = one(headers["x-hub-signature-256"]);
  switch (forge) {
    case "github":
      return isSigned(body, signature, secret);
    case "gitlab":
      return isSame(one(headers["x-gitlab-token"]), secret);
    case "generic":
      return signature === undefined
        ? isSame(bearer(headers.authorization), secret)
        : isSigned(body, signature, secret);
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

/** The mounts that a call is about; `undefined` where the body makes no sense. */
export function mountsMeant(
  forge: Forge,
  call: Call,
  mounts: readonly Mount[],
): readonly Mount[] | undefined {
  if (forge === "generic") {
    const names = call.query.getAll("mount");
    return names.length === 0 ? mounts : mounts.filter(({ config }) => names.includes(config.name));
  }
  const urls = repositoryUrls(payloadOf(call));
  if (urls === undefined) return undefined;
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
];

/** GitHub sends it as a form where that is chosen, which it is unless somebody chooses JSON. */
function payloadOf({ headers, body }: Call): string {
  const text = Buffer.from(body).toString();
  const isForm = headers["content-type"]?.startsWith("application/x-www-form-urlencoded") === true;
  return isForm ? (new URLSearchParams(text).get("payload") ?? "") : text;
}

/** Of GitHub's `repository`, and GitLab's `project` and `repository`. */
function repositoryUrls(text: string): string[] | undefined {
  let payload: unknown;
  try {
    payload = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof payload !== "object" || payload === null) return undefined;
  return ["repository", "project"].flatMap((part) => {
    const told = (payload as Record<string, unknown>)[part];
    if (typeof told !== "object" || told === null) return [];
    return FIELDS.map((field) => (told as Record<string, unknown>)[field]).filter(
      (url) => typeof url === "string",
    );
  });
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
  return `${host}/${path.replace(/^\/+|\/+$/g, "").replace(/\.git$/, "")}`.toLowerCase();
}
