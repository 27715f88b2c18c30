/** What each test holds an adapter to, and how an author meets it: told with each failure. */

interface Rule {
  /** Part of a test's name. */
  readonly about: RegExp;
  readonly rule: string;
  readonly meet: string;
}

/** The first that fits counts. The last line of each part of the suite fits all of its tests. */
const RULES: Readonly<Record<string, readonly Rule[]>> = {
  listing: [
    {
      about: /sizes|modification times|permission bits|symlinks/,
      rule: "An entry says of a file only what is true.",
      meet: "Leave out what the store does not report, and set the trait (sizes, mtimes, modes, symlinks) that says so.",
    },
    {
      about: /order/,
      rule: "`ordered: true` promises paths in the order of their UTF-8 bytes.",
      meet: "Set `ordered: false` unless the store sorts in that way. The engine then sorts.",
    },
    {
      about: /./,
      rule: "A listing has everything below the root and nothing else, each entry once, or it throws.",
      meet: "Read all pages, end the prefix at a `/`, and throw if something is missing. Pannier deletes files that a listing lacks.",
    },
  ],
  scope: [
    {
      about: /ignore file/,
      rule: "A listing that uses `scope` passes it the entry of the ignore file.",
      meet: "Call `scope.ignoreFile(entry)` once, with the listed entry or `undefined`, after you read the root.",
    },
    {
      about: /./,
      rule: "A listing may leave out only entries that `scope` rejects, and must not fail if it cannot read them.",
      meet: "Do not enter a directory that `scope.enters(path)` rejects. Leave all other filtering to the engine.",
    },
  ],
  names: [
    {
      about: /./,
      rule: "Names pass unchanged, hostile ones included.",
      meet: "Encode a path in a URL, decode what the server encodes, and change nothing else. Do not trim or normalize.",
    },
  ],
  content: [
    {
      about: /ranges/,
      rule: "`read` with a range returns exactly those bytes.",
      meet: "Request the range and check the answer. If the server sends the whole file (status 200), cut it.",
    },
    {
      about: /many|left in the middle|without holding/,
      rule: "`read` streams, also many files at once, and frees everything when the reader stops.",
      meet: "Return a stream of small chunks, and destroy the request in a `finally` of the generator.",
    },
    {
      about: /earlier process/,
      rule: "`read` needs nothing but the entry, which may come from an earlier process.",
      meet: "Put everything that identifies the version into `fingerprint` or `ref`, and not into memory.",
    },
    {
      about: /./,
      rule: "`read` returns exactly the bytes of the listed version.",
      meet: "Do not decode, convert or unpack content. Send `Accept-Encoding: identity`, and read binary.",
    },
  ],
  lanes: [
    {
      about: /./,
      rule: "A lane writes exactly the listed version, or leaves the file to `read`.",
      meet: "Give up at any answer but a plain success, and check its version and length.",
    },
  ],
  changes: [
    {
      about: /fingerprint/,
      rule: "A fingerprint changes with a file's content, and only then.",
      meet: "Use a digest, a version ID or an ETag. If the source has only size and time, set the trait `exactChanges: false`.",
    },
    {
      about: /probe|token/,
      rule: "`probe` answers in one request with a token that changes when the content does, and only then.",
      meet: "Return `undefined` if no request is that cheap and exact.",
    },
    {
      about: /revision/,
      rule: "A revision names one state of the content, and `changes` is the difference of two.",
      meet: "Leave out `revision` and `changes` if the store has no such names.",
    },
    {
      about: /hints/,
      rule: "`watch` yields within two seconds of a change.",
      meet: "Leave out `watch` if the store does not report changes. Pannier polls anyway.",
    },
    {
      about: /./,
      rule: "`read` returns the listed version, or throws `changed` or `not-found`. It never mixes two.",
      meet: "Pin each read, also of a range: with `If-Match`, a version ID, or a check before and after.",
    },
  ],
  faults: [
    {
      about: /HTTP \d|not tried again|many requests|retry/i,
      rule: "An adapter does not retry, sleep or back off. It says whether a retry can help.",
      meet: "Throw a SourceError with `unavailable` or `throttled`, and `retryAfter` in milliseconds. Turn the client's retries off.",
    },
    {
      about: /address|root|directory/,
      rule: "Each kind of failure has its code: `auth`, `not-found`, `invalid`, `unsupported`.",
      meet: "Map the store's errors to a SourceError, without passwords in its message or its `cause`.",
    },
    {
      about: /./,
      rule: "A broken or silent connection is `unavailable`, and cut content never counts as complete.",
      meet: "Compare the length. Respect `idleTimeout` while connecting, waiting and reading. Do not reuse a broken connection.",
    },
  ],
  lifecycle: [
    {
      about: /abort/,
      rule: "On an abort, each call ends within a second with the signal's own reason.",
      meet: "Begin with `signal.throwIfAborted()`, pass the signal to the client, and throw `signal.reason` itself.",
    },
    {
      about: /closed|closes/,
      rule: "`close` frees every connection, file and timer, works twice, and never throws.",
      meet: "Destroy agents and pools, and clear timers. Keep open what a running read needs, until it ends.",
    },
    {
      about: /./,
      rule: "A listed version can be read until the engine calls `published`, and after that if it is unchanged.",
      meet: "In `published`, drop only what you keep for older revisions, not for the last listing.",
    },
  ],
};

/** `undefined` for a part that has none. */
export function ruleFor(part: string, name: string): string | undefined {
  const found = RULES[part]?.find(({ about }) => about.test(name));
  return found === undefined ? undefined : `The rule: ${found.rule}\nMeet it: ${found.meet}`;
}
