/** What a request is answered with. */
export interface Reply {
  readonly status: number;
  readonly body: string | Uint8Array;
  /** Default `application/json`. */
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function json(status: number, value: unknown): Reply {
  return { status, body: `${JSON.stringify(value)}\n` };
}

export function plain(status: number, text: string): Reply {
  return { status, body: `${text}\n`, type: "text/plain; charset=utf-8" };
}
