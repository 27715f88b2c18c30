/** From a repository's URL to the conversation with it. */
import {
  type Credentials,
  decodedPath,
  type Location,
  parseLocation,
  type SourceContext,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { createHttpClient, type HttpClient } from "@pannier/http-client";
import { gitAuthorize } from "./credentials.ts";
import { httpRemote, isRepository } from "./remote/http.ts";
import { lastWords, processRemote, startProgram } from "./remote/process.ts";
import type { Remote } from "./remote/remote.ts";
import { shellQuoted, sshCommand, sshFailure } from "./remote/ssh.ts";
import { isKnownUser, startBySsh2 } from "./remote/ssh-library.ts";
import { GIT_LIMITS, gitEnvironment } from "./store/git-settings.ts";

/** How repositories are reached. */
export type Transport = "http" | "ssh" | "file";

export function transportOf({ scheme }: Location): Transport {
  const bare = scheme.replace(/^git\+/, "");
  return bare === "ssh" || bare === "file" ? bare : "http";
}

/** The repository's URL as git would write it, without password; over HTTP without user too. */
export function repositoryUrl(location: Location): string {
  const scheme = location.scheme.replace(/^git\+/, "");
  const port = location.port === undefined ? "" : `:${location.port}`;
  const user =
    scheme === "ssh" && location.username !== undefined
      ? `${encodeURIComponent(location.username)}@`
      : "";
  return `${scheme}://${user}${location.host}${port}${location.pathname}`;
}

export interface OpenedRemote {
  readonly remote: Remote;
  /** For what is beside git's protocol at the same place (LFS): signs in at the repository's origin, and nowhere else. */
  readonly http: HttpClient | undefined;
  /** The same without signing in. */
  readonly anonymous: HttpClient;
}

/** Opens the repository that the user named. */
export function openRemote(location: Location, context: SourceContext): OpenedRemote {
  return open(location, context.credentials, context);
}

/** Whether the URL that the user wrote leads to a repository over HTTP. */
export async function isRepositoryAt(
  location: Location,
  context: SourceContext,
  signal: AbortSignal,
): Promise<boolean> {
  const { remote, http } = openRemote(location, context);
  try {
    return http !== undefined && (await isRepository(repositoryUrl(location), http, signal));
  } finally {
    await remote.close();
  }
}

/**
 * Opens a submodule's. It gets credentials only where it is on the same host and reached in the same way, as its URL was
 * written by whoever may push. For other hosts there are `.netrc` and the ssh agent.
 *
 * @throws SourceError `invalid` for a URL that cannot be used: it is not the user's own mistake
 */
export function openSubmodule(url: string, parent: Location, context: SourceContext): OpenedRemote {
  try {
    return openBeside(url, parent, context);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new SourceError(
      "invalid",
      `.gitmodules has a URL that cannot be used: ${error.message}`,
      {
        hint: "set submodules=off, or change the URL in .gitmodules",
        cause: error,
      },
    );
  }
}

function openBeside(url: string, parent: Location, context: SourceContext): OpenedRemote {
  const location = parseLocation(url);
  const { caFile, sshKnownHostsFile, cookieFile } = context.credentials;
  const trusted =
    transportOf(location) === transportOf(parent) &&
    (transportOf(location) === "ssh"
      ? location.host === parent.host
      : sameOrigin(location, parent));
  if (!trusted) return open(location, { caFile, sshKnownHostsFile, cookieFile }, context);
  const { username = parent.username, password = parent.password } = location;
  return open({ ...location, username, password }, context.credentials, context);
}

function sameOrigin(a: Location, b: Location): boolean {
  return new URL(repositoryUrl(a)).origin === new URL(repositoryUrl(b)).origin;
}

function open(location: Location, credentials: Credentials, context: SourceContext): OpenedRemote {
  const { idleTimeout } = context;
  const onRequest = (operation: string) => context.request(operation);
  const env = process.env;
  const { caFile } = credentials;
  const anonymous = createHttpClient({ credentials: { caFile }, env, idleTimeout, onRequest });
  switch (transportOf(location)) {
    case "http": {
      const url = repositoryUrl(location);
      const { authorize, forget } = gitAuthorize(
        new URL(url).origin,
        location,
        credentials,
        env,
        anonymous,
      );
      const http = createHttpClient({ credentials, authorize, env, idleTimeout, onRequest });
      const remote = httpRemote(url, http);
      // A token that was good when it was fetched may have been revoked.
      const again = async <T>(ask: () => Promise<T>): Promise<T> => {
        try {
          return await ask();
        } catch (error) {
          if (error instanceof SourceError && error.code === "auth" && forget()) return ask();
          throw error;
        }
      };
      return {
        http,
        anonymous,
        remote: {
          refs: (...args) => again(() => remote.refs(...args)),
          fetch: (...args) => again(() => remote.fetch(...args)),
          close: async () => {
            await remote.close();
            await anonymous.close();
          },
        },
      };
    }
    case "ssh": {
      if (location.host === "" || location.host.startsWith("-"))
        throw new UsageError("the URL names no host");
      if (location.username?.startsWith("-") === true)
        throw new UsageError("the URL's user starts with a dash");
      if (location.password !== undefined)
        throw new UsageError(
          "ssh cannot take a password from the URL",
          "use a key: credentials.sshKeyFile, or an ssh agent",
        );
      const path = decodedPath(location).replace(/^\/~/, "~");
      const target = {
        host: location.host,
        port: location.port,
        username: location.username ?? credentials.username,
      };
      const upload = `git-upload-pack ${shellQuoted(path)}`;
      const remote = processRemote({
        start: async () =>
          isKnownUser()
            ? startProgram(await sshCommand(target, upload, credentials, idleTimeout))
            : startBySsh2(target, upload, credentials, idleTimeout),
        failure: sshFailure,
        idleTimeout,
        request: onRequest,
      });
      return { remote, http: undefined, anonymous };
    }
    case "file": {
      if (location.host !== "" && location.host !== "localhost")
        throw new UsageError("a file URL names no host", "write git+file:///path/repo.git");
      const path = decodedPath(location);
      const remote = processRemote({
        start: async () =>
          startProgram({
            program: "git",
            args: [...GIT_LIMITS, "upload-pack", "--", path],
            env: { ...gitEnvironment(undefined), GIT_PROTOCOL: "version=2" },
          }),
        failure: fileFailure,
        idleTimeout,
        request: onRequest,
      });
      return { remote, http: undefined, anonymous };
    }
  }
}

function fileFailure(stderr: string): SourceError {
  if (/dubious ownership/.test(stderr))
    return new SourceError("auth", "the repository belongs to another user, which git refuses", {
      hint: "let it belong to the user that Pannier runs as, or serve it over http or ssh",
    });
  const words = lastWords(stderr);
  if (/not appear to be a git repository|not a git repository|No such file/i.test(stderr))
    return new SourceError("not-found", "there is no git repository at this path", {
      hint: "check the path in the URL",
    });
  if (/Permission denied/.test(stderr)) return new SourceError("auth", words);
  return new SourceError("unavailable", `git failed: ${words}`);
}
