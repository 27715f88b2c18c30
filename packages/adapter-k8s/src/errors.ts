/** What the API server's refusals mean: https://kubernetes.io/docs/reference/using-api/api-concepts/. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, readText, statusError } from "@pannier/http-client";

/** What was asked for, as RBAC calls it. */
export interface Question {
  readonly verb: "get" | "list" | "watch";
  readonly resource: string;
  /** `undefined`: in all. */
  readonly namespace: string | undefined;
  readonly name?: string | undefined;
}

/** The object that comes with a refusal. */
export interface Status {
  readonly code?: unknown;
  readonly reason?: unknown;
  readonly message?: unknown;
}

/** Bytes of a refusal that are read: it is a sentence in JSON. */
const LONGEST_STATUS = 256 * 1024;

function nameOf({ namespace, name, resource }: Question): string {
  const where = namespace === undefined ? "all namespaces" : `the namespace ${namespace}`;
  return name === undefined ? `${resource} in ${where}` : `${resource} ${namespace}/${name}`;
}

export function isGone(error: unknown): boolean {
  return error instanceof GoneError;
}

/** The API server has forgotten what happened since that resourceVersion, or the rest of a list: 410. */
export class GoneError extends SourceError {
  protected static override readonly kind: string = "GoneError";
}

export async function refusal(
  { status, headers, body }: HttpResponse,
  question: Question,
): Promise<SourceError> {
  const reason = await readStatus(body);
  return refusalOf(status, reason, question, headers);
}

/** @param status as HTTP has it, or that of an event of a watch */
export function refusalOf(
  status: number,
  reason: string,
  question: Question,
  headers: HttpResponse["headers"] = {},
): SourceError {
  const { verb, resource } = question;
  switch (status) {
    case 401:
      return new SourceError("auth", "the API server does not accept the credentials", {
        reached: "answered",
        hint: "check that the token or certificate has not expired, and is of this cluster",
      });
    case 403:
      return new SourceError("auth", `may not ${verb} ${nameOf(question)}${reason}`, {
        reached: "signed-in",
        hint: `bind it to a role with the verbs get, list and watch on ${resource}`,
      });
    case 404:
      return new SourceError("not-found", `${nameOf(question)}: not found`, {
        reached: "signed-in",
      });
    case 410:
      return new GoneError(
        "unavailable",
        `${nameOf(question)}: the API server forgot the state asked for`,
      );
    default: {
      const { code, message, retryAfter, transient, hint } = statusError(status, headers, "", true);
      return new SourceError(code, `${nameOf(question)}: ${message}${reason}`, {
        reached: "answered",
        retryAfter,
        transient,
        hint,
      });
    }
  }
}

/** What the server says, in brackets. It names users, verbs and resources, and no content. */
async function readStatus(body: HttpResponse["body"]): Promise<string> {
  try {
    return reasonOf(JSON.parse(await readText(body, LONGEST_STATUS)) as Status);
  } catch {
    // From a proxy, perhaps.
    return "";
  }
}

export function reasonOf({ message }: Status): string {
  return typeof message === "string"
    ? // eslint-disable-next-line no-control-regex
      ` (${message.replaceAll(/[\0-\x1f\x7f]+/g, " ").slice(0, 500)})`
    : "";
}

/** Of what is not JSON. Without the parser's words, which quote what it read: it may be a Secret's. */
export function notJson(cause?: unknown): SourceError {
  return notApi(cause instanceof SyntaxError ? undefined : cause);
}

/** @throws SourceError `invalid` */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notJson(error);
  }
}

export function notApi(cause?: unknown): SourceError {
  return new SourceError("invalid", "the answer is not one of a Kubernetes API server", {
    hint: "check the server in the kubeconfig",
    cause,
  });
}
