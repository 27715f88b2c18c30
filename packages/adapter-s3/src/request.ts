/** A question to S3: signed here, on the shared connections, and sent to where the bucket is. */
import { InternalError } from "@pannier/core/adapter";
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { askStore, encodePath, queryOf, withOtherKeys } from "@pannier/object-store";
import type { Connection, Place } from "./connection.ts";
import {
  isElsewhere,
  isExpired,
  isUnexplained,
  isUnknown,
  readRefusal,
  type Refusal,
  refusalError,
} from "./errors.ts";
import { createSigner } from "./sign.ts";

export interface Request {
  readonly method?: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Called for each time that it is sent. */
  readonly body?: (() => AsyncIterable<Uint8Array>) | undefined;
  /** Statuses that are answers beside 200 and 206. */
  readonly others?: readonly number[] | undefined;
  /** Refusals that are thrown as {@link Declined}: what was asked for can be had in another way. */
  readonly decline?: ((refusal: Refusal) => boolean) | undefined;
  readonly operation: string;
  readonly signal: AbortSignal;
}

/** The server does not do what was asked of it, or says that a condition is not met. */
export class Declined extends InternalError {
  constructor() {
    super("the server declined");
  }
}

export interface Requests {
  /**
   * @param key `undefined`: the bucket
   * @throws Declined; SourceError for any other answer
   */
  ask(key: string | undefined, request: Request): Promise<HttpResponse>;
  /** Where the bucket is, as far as is known. */
  place(): Promise<Place>;
}

export function makeRequests(init: {
  readonly http: HttpClient;
  readonly connection: Connection;
  readonly requesterPays: boolean;
  /** Keys that were listed as archived: an object that cannot be read for that names them. */
  readonly archived: ReadonlySet<string>;
}): Requests {
  const { http, connection, requesterPays, archived } = init;
  const { signIn } = connection;
  const sign = createSigner();
  let place: Promise<Place> | undefined;

  const current = () => (place ??= connection.place());
  return { ask, place: current };

  async function ask(
    key: string | undefined,
    request: Request,
    moved = false,
  ): Promise<HttpResponse> {
    const { method = "GET", query = {}, others, operation, signal } = request;
    signal.throwIfAborted();
    const where = await current();
    const signature = await signIn.current(signal);
    const { keys } = signature;
    const search = queryOf(query);
    const path = key === undefined ? where.base.slice(0, -1) : where.base + encodePath(key);
    const url = new URL(search === "" ? path : `${path}?${search}`);
    const headers = {
      ...request.headers,
      ...(requesterPays ? { "x-amz-request-payer": "requester" } : {}),
    };
    return askStore(http, url, {
      method,
      headers:
        keys === undefined
          ? headers
          : sign(
              { method, host: url.host, path: url.pathname, query: search, headers },
              keys,
              where,
              new Date(),
            ),
      body: request.body?.(),
      others,
      subject: key,
      operation,
      signal,
      accepted: () => signIn.accepted(signature),
      async refused(response) {
        const refusal = await readRefusal(response);
        signal.throwIfAborted();
        if (request.decline?.(refusal) === true) throw new Declined();
        if (!moved && isElsewhere(refusal) && refusal.region !== where.region) {
          place = connection.place(refusal.region);
          return ask(key, request, true);
        }
        if (method === "HEAD" && operation === "probe" && isUnexplained(refusal)) {
          return ask(key, { ...request, method: "GET" });
        }
        const error = refusalError(refusal, {
          subject: key,
          listed: operation === "read",
          writes: method !== "GET" && method !== "HEAD",
          archived,
        });
        const ended = isExpired(refusal);
        const renewable = keys !== undefined && (ended || isUnknown(refusal));
        const renewed = renewable && (await signIn.refused(signature, signal, ended));
        throw renewed ? withOtherKeys(error) : error;
      },
    });
  }
}
