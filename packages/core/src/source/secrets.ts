/**
 * Files that hold what signs in: the one place where they are read, with one meaning of what is at their end. They are read
 * again at each use, so that rotated ones are taken over.
 */
import { readFile } from "node:fs/promises";
import { UsageError } from "./errors.ts";

/**
 * Reads a file that credentials name: a key, certificates, known hosts.
 *
 * @param what it is, as in `password file`
 * @param mayBeEmpty where nothing in it means something
 * @throws UsageError where it cannot be read, or is empty
 */
export async function readCredentialFile(
  path: string,
  what: string,
  { mayBeEmpty = false }: { readonly mayBeEmpty?: boolean } = {},
): Promise<Buffer> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `the ${what} ${path} cannot be read (${code})`,
      "check its path and its mode",
      { cause: error },
    );
  }
  if (content.length === 0 && !mayBeEmpty) throw emptyFile(path, what);
  return content;
}

/**
 * Reads a password or another secret, without the line ends behind it, which editors add. Blanks belong to it: a password may
 * end with some.
 *
 * @param what it is, as in `password file`
 * @throws UsageError where it cannot be read, or is empty
 */
export async function readSecret(path: string, what: string): Promise<string> {
  const text = (await readCredentialFile(path, what)).toString().replace(/[\r\n]+$/, "");
  if (text === "") throw emptyFile(path, what);
  return text;
}

/**
 * Reads a token that goes into a header or a query, where no blanks can be: those around it are left out.
 *
 * @param what it is, as in `token file`
 * @throws UsageError where it cannot be read, is empty, or holds no token
 */
export async function readToken(path: string, what: string): Promise<string> {
  const token = (await readSecret(path, what)).trim();
  if (token === "") throw emptyFile(path, what);
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(
    `the ${what} ${path} holds no token`,
    "a token is one word of printable ASCII",
  );
}

function emptyFile(path: string, what: string): UsageError {
  return new UsageError(`the ${what} ${path} is empty`, "write the secret into it");
}
