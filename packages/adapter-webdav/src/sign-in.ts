/** Signing in as the server asks: a password goes out only after it asked, and by digest where it knows that. */
import {
  type Authorize,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  statusError,
} from "@pannier/http-client";
import { answerDigest, type DigestChallenge, parseDigest } from "./digest.ts";

export interface SignIn {
  readonly authorize: Authorize;
  /** What signs in any request, each in the same way; `undefined` where the server asks for digests. */
  readonly forAll: (url: URL) => Promise<Readonly<Record<string, string>> | undefined>;
  /** Sends a request, and once more where the server answered with a challenge that can be met. */
  request(
    client: HttpClient,
    url: URL,
    request: HttpRequest & { readonly expect: readonly number[] },
  ): Promise<HttpResponse>;
}

/** @param plain what there is to sign in with, as for any HTTP source: `Basic` or `Bearer` */
export function makeSignIn(plain: Authorize): SignIn {
  let asked: "nothing" | "basic" | DigestChallenge = "nothing";
  let count = 0;

  /** Whether trying again with what is known now makes sense. */
  function learn(header: string, before: typeof asked): boolean {
    const digest = parseDigest(header);
    // Others learned it in the meantime.
    if (asked !== before) return true;
    if (digest !== undefined) {
      const known = typeof before === "object";
      if (known && !/\bstale\s*=\s*"?true/i.test(header)) return false;
      asked = digest;
      count = 0;
      return true;
    }
    if (before !== "nothing" || !/\bBasic\b/i.test(header)) return false;
    asked = "basic";
    return true;
  }

  const signIn: SignIn = {
    async forAll(url) {
      return typeof asked === "object" ? undefined : signIn.authorize(url);
    },

    async authorize(url, method = "GET") {
      const headers = await plain(url, method);
      const { authorization, ...others } = headers;
      const basic = /^Basic (.*)$/.exec(authorization ?? "")?.[1];
      if (basic === undefined || asked === "basic") return headers;
      if (asked === "nothing") return others;
      const [, username = "", password = ""] =
        /^([^:]*):(.*)$/s.exec(Buffer.from(basic, "base64").toString()) ?? [];
      const uri = url.pathname + url.search;
      return {
        ...others,
        authorization: answerDigest(asked, { username, password }, method, uri, ++count),
      };
    },

    async request(client, url, request) {
      for (let attempt = 1; ; attempt++) {
        const before = asked;
        const response = await client.request(url, {
          ...request,
          expect: [...request.expect, 401],
        });
        if (response.status !== 401) return response;
        await response.discard();
        // Twice: once to learn how, once more where the nonce has grown old.
        const again = attempt < 3 && learn(response.headers["www-authenticate"] ?? "", before);
        const hasPassword =
          (await plain(url, request.method ?? "GET"))["authorization"]?.startsWith("Basic ") ===
          true;
        if (!again || !hasPassword) {
          const what = request.subject === undefined ? "" : `${request.subject}: `;
          throw statusError(401, response.headers, what, true);
        }
      }
    },
  };
  return signIn;
}
