/**
 * A question to the JSON API, on the shared connections, by what the connection signs in with.
 *
 * @see https://cloud.google.com/storage/docs/json_api/v1
 */
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { askStore, queryOf, withOtherKeys } from "@pannier/object-store";
import type { Connection, Opened } from "./connection.ts";
import { answerError, type Asked } from "./errors.ts";

type Query = Readonly<Record<string, string | undefined>>;

interface Request {
  /** Default `GET`. */
  readonly method?: "GET" | "POST";
  readonly url: string;
  /** Where the URL has none yet. */
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: AsyncIterable<Uint8Array> | undefined;
  /** Statuses that are answers beside 200 and 206. */
  readonly others?: readonly number[] | undefined;
  readonly operation: string;
  readonly asked: Asked;
  readonly signal: AbortSignal;
}

export interface Bucket {
  readonly http: HttpClient;
  readonly connection: Connection;
}

/** @throws SourceError for any other answer */
export async function ask(
  { http, connection }: Bucket,
  opened: Opened,
  request: Request,
): Promise<HttpResponse> {
  const { url, query, method, headers, body, others, operation, asked, signal } = request;
  return askStore(http, query === undefined ? url : `${url}?${queryOf(query)}`, {
    method,
    headers: { ...headers, ...opened.headers },
    body,
    others,
    subject: asked.kind === "object" ? asked.key : undefined,
    operation,
    signal,
    accepted: () => connection.accepted(opened),
    async refused(response) {
      const again = response.status === 401 && (await connection.refused(opened, signal));
      const error = await answerError(response, asked);
      throw again ? withOtherKeys(error) : error;
    },
  });
}
