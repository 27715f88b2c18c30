/** OpenPGP signatures, checked by `gpgv` against a keyring. */
import { BadSignature, lastLine, runProgram, withFiles } from "./program.ts";
import type { SignedObject } from "./signed-object.ts";

/** What makes a signature bad, whatever else gpgv says of it. Words of its doc/DETAILS. */
const REFUSED: Readonly<Record<string, string>> = {
  BADSIG: "it is not of this content",
  ERRSIG: "it is by no key of the keyring, or cannot be read",
  EXPSIG: "it is past its time",
  EXPKEYSIG: "its key is past its time",
  REVKEYSIG: "its key was revoked",
};

/** @throws BadSignature, UsageError */
export async function checkOpenPgp(
  { payload, signature }: SignedObject,
  keyring: Uint8Array,
  signal: AbortSignal,
): Promise<{ readonly by: string; readonly key: string }> {
  const files = { "keyring.gpg": withoutArmour(keyring), signature, payload };
  return withFiles(files, async (path, directory) => {
    const places = ["--homedir", directory, "--keyring", path("keyring.gpg")];
    const args = [...places, "--weak-digest", "SHA1", "--status-fd", "1", "--"];
    const said = await runProgram(
      "gpgv",
      [...args, path("signature"), path("payload")],
      directory,
      undefined,
      signal,
    );
    const lines = [...said.stdout.matchAll(/^\[GNUPG:\] (\w+) ?(.*)$/gm)].map(
      ([, word = "", rest = ""]) => ({ word, rest }),
    );
    for (const { word } of lines) {
      const reason = REFUSED[word];
      if (reason !== undefined) throw new BadSignature(reason);
    }
    const good = lines.filter(({ word }) => word === "GOODSIG");
    const valid = lines.filter(({ word }) => word === "VALIDSIG");
    if (said.code !== 0 || good.length !== 1 || valid.length !== 1)
      throw new BadSignature(lastLine(said, directory) || "gpgv refuses it");
    return {
      by: good[0]?.rest.replace(/^\S+ /, "") ?? "",
      key: valid[0]?.rest.split(" ", 1)[0] ?? "",
    };
  });
}

/** Keys are mostly passed on as text, which gpgv does not read. */
function withoutArmour(keyring: Uint8Array): Uint8Array {
  const text = Buffer.from(keyring).toString("latin1");
  const blocks = text.matchAll(
    /^-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:.+\r?\n)*?\r?\n([A-Za-z0-9+/=\s]*?)(?:^=.*\r?\n)?-----END PGP/gm,
  );
  const keys = Array.from(blocks, ([, base64 = ""]) => Buffer.from(base64, "base64"));
  return keys.length === 0 ? keyring : Buffer.concat(keys);
}
