/** The adapter: assets of a release on GitHub, GitLab, Gitea or Forgejo as a source. */
import type { Adapter, Source } from "@pannier/core/adapter";
import { createHttpClient, type HttpClient, makeAuthorize } from "@pannier/http-client";
import { FILE_SIGNATURES } from "@pannier/signatures";
import { makeFinder, tagOf } from "./find.ts";
import { findForge } from "./forge.ts";
import { checkOptions, releaseOptions } from "./options.ts";
import { releaseSource } from "./source.ts";
import { findToken, makeSignIn } from "./token.ts";

export const releaseAdapter: Adapter<typeof releaseOptions> = {
  name: "release",
  package: "@pannier/adapter-release",
  schemes: ["release+https", "release+http"],
  options: releaseOptions,
  signatures: FILE_SIGNATURES,
  description: "assets of a release on GitHub, GitLab, Gitea or Forgejo",

  async open(location, options, context): Promise<Source> {
    const settings = checkOptions(options);
    const forge = findForge(location, settings);
    const { env } = process;
    const { credentials, idleTimeout } = context;
    const { username, password } = location;
    const given = (origin: string) =>
      makeAuthorize({ origin, username, password, credentials, env });
    const authorize = makeSignIn(forge, given, env);
    const client = createHttpClient({
      credentials,
      authorize,
      env,
      idleTimeout,
      onRequest: (operation) => context.request(operation),
    });
    const content = contentClient(client);
    const isSignedIn = async () => (await authorize(forge.latest))["authorization"] !== undefined;
    const isPlain = location.scheme === "release+http";
    const lockedTag = () => tagOf(context.locked?.());
    const finder = await makeFinder({
      forge,
      client,
      content,
      settings,
      isSignedIn,
      lockedTag,
      isPlain,
    });
    return releaseSource({
      finder,
      content,
      settings,
      context,
      async identity() {
        const { latest } = forge;
        if ((await given(latest.origin)(latest))["authorization"] !== undefined) {
          return "the credentials given to Pannier";
        }
        const token = findToken(forge, env);
        return token === undefined ? "nothing: as anybody" : `the token of ${token.from}`;
      },
    });
  },
};

/** Asks for content: GitHub's API describes an asset unless that is said. */
function contentClient(client: HttpClient): HttpClient {
  return {
    ...client,
    request: (url, request = {}) => {
      const headers = { accept: "application/octet-stream", ...request.headers };
      return client.request(url, { ...request, headers });
    },
  };
}
