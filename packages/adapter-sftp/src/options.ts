/** Options in the URL's query. */
import { type OptionSpecs, UsageError } from "@pannier/core/adapter";

export const sftpOptions = {
  hostKey: {
    type: "string",
    description: "fingerprint that the server's host key must have, or a comma-separated list",
    placeholder: "SHA256:…",
  },
  knownHosts: {
    type: "string",
    description:
      "known hosts file; default: that of the credentials, else the user's and the system's files",
    placeholder: "FILE",
  },
} as const satisfies OptionSpecs;

/**
 * The fingerprints of an option `hostKey`, without padding.
 *
 * @throws UsageError where one cannot be a fingerprint
 */
export function parseHostKey(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  return text.split(",").map((one) => {
    // A plus in a URL's query stands for a blank, and fingerprints have pluses.
    const fingerprint = one.replaceAll(" ", "+");
    const digest = /^SHA256:([A-Za-z0-9+/]{43})=?$/.exec(fingerprint)?.[1];
    if (digest !== undefined) return `SHA256:${digest}`;
    throw new UsageError(
      'option "hostKey" must be a fingerprint such as SHA256:… with 43 characters',
      "ssh-keyscan HOST | ssh-keygen -lf - shows it",
    );
  });
}
