/** Who to sign in as. */
import { type Credentials, type Location, readSecret } from "@pannier/core/adapter";
import { type Environment, readNetrc } from "@pannier/http-client";

export interface Login {
  readonly user: string;
  readonly password: string;
}

/** Where nobody is named. As RFC 1635 asks for, without telling whose address it is. */
export const ANONYMOUS: Login = { user: "anonymous", password: "anonymous@" };

/**
 * First match: user and password of the URL; the host's entry in `.netrc`; user and password (or its file) of the credentials; the
 * `default` entry of `.netrc`; anonymous. Files are read again each time.
 *
 * @throws UsageError where the password file cannot be read
 */
export async function loginOf(
  location: Location,
  credentials: Credentials,
  env: Environment,
): Promise<Login> {
  const { username, password } = location;
  if (username !== undefined && password !== undefined) return { user: username, password };
  const netrc = await readNetrc(env, location.host.replace(/^\[|\]$/g, ""), username);
  if (netrc !== undefined && !netrc.isDefault) {
    return { user: netrc.login ?? username ?? "", password: netrc.password ?? "" };
  }
  const user = username ?? credentials.username;
  const { passwordFile } = credentials;
  const fromFile =
    passwordFile === undefined ? undefined : await readSecret(passwordFile, "password file");
  const secret = credentials.password ?? fromFile;
  if (user !== undefined || secret !== undefined) {
    return { user: user ?? "anonymous", password: secret ?? "" };
  }
  if (netrc !== undefined)
    return { user: netrc.login ?? "anonymous", password: netrc.password ?? "" };
  return ANONYMOUS;
}
