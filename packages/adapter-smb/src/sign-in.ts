/** Who to sign in as, and by what. */
import { existsSync } from "node:fs";
import {
  type Credentials,
  type Location,
  readSecret,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";

export interface SignIn {
  readonly user: string;
  readonly password: string;
  readonly domain: string | undefined;
  readonly by: "password" | "kerberos" | "guest";
}

type Environment = Readonly<Record<string, string | undefined>>;
type UrlUser = Pick<Location, "username" | "password">;

/** Bytes that libsmbclient has for a name or a password. Longer ones would be cut. */
const ROOM = 255;

/**
 * A user with a password: by NTLMv2. Without a password: by Kerberos where there is a cache of tickets, and otherwise by a
 * password that is empty; without a user: as a guest. The password file is read again each time.
 *
 * Tickets alone are not enough: without a user, libsmbclient signs in as a guest before it looks at them.
 *
 * A domain may also stand before the user's name (`DOMAIN\user`, `DOMAIN;user`).
 *
 * @throws UsageError on a domain that is said twice, and on what is too long
 * @throws SourceError `auth` on a password without a user, a password file that cannot be read, a cache of tickets that is named and not there, and a guest where all must be signed
 */
export async function signIn(
  location: UrlUser,
  credentials: Credentials,
  { domain, sign }: { readonly domain: string | undefined; readonly sign: string },
  env: Environment,
): Promise<SignIn> {
  const { user, domain: named } = userOf(location, credentials, domain);
  const password = await passwordOf(location, credentials);
  if (password !== undefined && user === "") {
    throw new SourceError("auth", "there is a password, but no user to sign in as", {
      hint: "set credentials.username, or write smb://USER@host/share/path",
    });
  }
  checkRoom("the password", password ?? "");
  const by =
    user === "" ? "guest" : password === undefined && hasTickets(env) ? "kerberos" : "password";
  if (by === "guest" && sign === "required") {
    throw new SourceError("auth", "what a guest reads cannot be signed, and must be", {
      hint: "give a user, and a password or tickets, or leave out sign=required",
    });
  }
  return { user, password: password ?? "", domain: named, by };
}

/** @throws UsageError as {@link signIn} does */
export function userOf(
  { username }: UrlUser,
  credentials: Credentials,
  domain: string | undefined,
): { readonly user: string; readonly domain: string | undefined } {
  const given = username ?? credentials.username ?? "";
  const [, before, name = given] = /^([^\\;]*)[\\;](.*)$/s.exec(given) ?? [];
  if (before !== undefined && domain !== undefined && before !== domain) {
    throw new UsageError(
      'the option "domain" and the user name name different domains',
      "name it once",
    );
  }
  const named = domain ?? before;
  checkRoom("the user name", name);
  checkRoom("the domain", named ?? "");
  return { user: name, domain: named };
}

function hasTickets(env: Environment): boolean {
  const named = env["KRB5CCNAME"];
  // Where Kerberos keeps them unless it is told otherwise.
  if (named === undefined || named === "") return existsSync(`/tmp/krb5cc_${process.getuid?.()}`);
  const file = /^(?:FILE:)?(\/.*)$/s.exec(named)?.[1];
  if (file === undefined || existsSync(file)) return true;
  throw new SourceError("auth", `there are no tickets at ${file}`, {
    hint: "get some with kinit, set KRB5CCNAME to where they are, or give a password",
  });
}

async function passwordOf(
  location: UrlUser,
  { password, passwordFile }: Credentials,
): Promise<string | undefined> {
  if (location.password !== undefined) return location.password;
  if (password !== undefined) return password;
  if (passwordFile === undefined) return undefined;
  return readSecret(passwordFile, "password file");
}

function checkRoom(what: string, text: string): void {
  if (Buffer.byteLength(text) <= ROOM && !text.includes("\0")) return;
  throw new UsageError(`${what} cannot be longer than ${ROOM} bytes, or hold a NUL`);
}
