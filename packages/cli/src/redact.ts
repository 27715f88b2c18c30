/**
 * The net below the rule that no message holds a secret: what the program was given as one is taken out of every line
 * before it is printed.
 */

export interface Redact {
  (text: string): string;
  /** Adds to what is known, as {@link makeRedact} takes it. */
  learn(sources: readonly string[], secrets: readonly (string | undefined)[]): void;
}

/** Shorter ones would mangle ordinary words without hiding anything. */
const SHORTEST = 4;

/**
 * @param sources sources as typed, which may hold passwords and signed queries
 * @param secrets known secrets
 */
export function makeRedact(
  sources: readonly string[],
  secrets: readonly (string | undefined)[],
): Redact {
  const known = new Set<string>();
  const add = (text: string | undefined) => {
    for (const form of text === undefined
      ? []
      : [text, decoded(text), encodeURIComponent(decoded(text))])
      if (form.length >= SHORTEST) known.add(form);
  };
  let longestFirst: readonly string[] = [];
  const learn: Redact["learn"] = (moreSources, moreSecrets) => {
    for (const secret of moreSecrets) add(secret);
    for (const source of moreSources) {
      const [, user, password] = /^[^:/]+:\/\/([^/?#:@]*)(?::([^/?#]*))?@/.exec(source) ?? [];
      add(password);
      // A token is often given in the place of the user's name.
      if (password === undefined) add(user === "git" ? undefined : user);
      else if (user !== undefined)
        add(Buffer.from(`${decoded(user)}:${decoded(password)}`).toString("base64"));
    }
    longestFirst = [...known].toSorted((a, b) => b.length - a.length);
  };
  learn(sources, secrets);
  const redact = (text: string) => {
    let clean = text;
    for (const secret of longestFirst) clean = clean.replaceAll(secret, "***");
    return (
      clean
        // The user of git over ssh is no secret, and part of the URL to write.
        .replace(/([a-z][a-z0-9+.-]*:\/\/)(?!git@)[^\s/?#@"']*@/gi, "$1***@")
        .replace(/\b(basic|bearer|token)\s+[a-z0-9+/_.~-]{8,}=*/gi, "$1 ***")
        .replace(
          /([?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|sig|signature|token|access_token|key)=)[^&\s"']+/gi,
          "$1***",
        )
    );
  };
  return Object.assign(redact, { learn });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
