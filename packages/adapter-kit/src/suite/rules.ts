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
      meet: "Leave out what the store does not know, and set the trait (sizes, mtimes, modes, symlinks) that says so.",
    },
    {
      about: /order/,
      rule: "`ordered: true` promises paths in the order of their UTF-8 bytes.",
      meet: "Set `ordered: false` unless the store sorts in that way. The engine sorts then.",
    },
    {
      about: /./,
      rule: "A listing has everything below the root and nothing else, each entry once, or it throws.",
      meet: "Read all pages, end the prefix at a `/`, and throw where something is missing. Pannier deletes what a listing lacks.",
    },
  ],
  scope: [
    {
      about: /ignore file/,
      rule: "A listing that uses `scope` tells of the ignore file that it then lists.",
      meet: "Call `scope.ignoreFile(entry)` once, with the listed entry or `undefined`, after the root was read.",
    },
    {
      about: /./,
      rule: "A listing may leave out only what `scope` does not want, and need not be able to read it.",
      meet: "Do not enter a directory that `scope.enters(path)` rejects. Leave all other filtering to the engine.",
    },
  ],
  names: [
    {
      about: /./,
      rule: "Names pass unchanged, hostile ones included.",
      meet: "Encode a path where it goes into a URL, decode what the server encodes, and change nothing else: no trim, no normalize.",
    },
  ],
  content: [
    {
      about: /ranges/,
      rule: "`read` with a range returns exactly those bytes.",
      meet: "Ask for the range and check the answer, or read the whole and cut it (status 200 for a range).",
    },
    {
      about: /many|left in the middle|without holding/,
      rule: "`read` streams, many at once, and frees everything where the reader leaves.",
      meet: "Return a stream of small chunks, and destroy the request in a `finally` of the generator.",
    },
    {
      about: /earlier process/,
      rule: "`read` needs nothing but the entry, which may come from an earlier process.",
      meet: "Put what it takes to find the version into `fingerprint` or `ref`, not into memory.",
    },
    {
      about: /./,
      rule: "`read` returns exactly the bytes of the listed version.",
      meet: "Do not decode, convert or unpack content: ask for `Accept-Encoding: identity`, and read binary.",
    },
  ],
  lanes: [
    {
      about: /./,
      rule: "A lane writes exactly the listed version, or leaves the file to `read`.",
      meet: "Give up at everything but the plain good answer, and check version and length of that.",
    },
  ],
  changes: [
    {
      about: /fingerprint/,
      rule: "A fingerprint changes with a file's content, and only then.",
      meet: "Use a digest, a version ID or an ETag. If there is only size and time, set the trait `exactChanges: false`.",
    },
    {
      about: /probe|token/,
      rule: "`probe` answers in one request with a token that changes when the content does, and only then.",
      meet: "Return `undefined`, or leave `probe` out, where no question is that cheap and exact.",
    },
    {
      about: /revision/,
      rule: "A revision names one state of the content, and `changes` is the difference of two.",
      meet: "Leave out `revision` and `changes` where the store has no such names.",
    },
    {
      about: /hints/,
      rule: "`watch` yields within two seconds of a change.",
      meet: "Leave out `watch` where the store cannot tell by itself. Polling does.",
    },
    {
      about: /./,
      rule: "`read` returns the listed version, or throws `changed` or `not-found`. It never mixes two.",
      meet: "Pin the read: `If-Match`, a version ID, or a look before and after, at each range.",
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
      rule: "What is wrong has its code: `auth`, `not-found`, `invalid`, `unsupported`.",
      meet: "Map the store's errors to a SourceError, without passwords in its message or its `cause`.",
    },
    {
      about: /./,
      rule: "A broken or silent connection is `unavailable`, and content that was cut never passes for whole.",
      meet: "Compare the length, respect `idleTimeout` at connecting, at the answer and in the body, and do not reuse a broken connection.",
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
      meet: "Destroy agents and pools, and clear timers. Keep open what only a read in work needs until it ends.",
    },
    {
      about: /./,
      rule: "What was listed can be read until `published` is called, and after that if it is still the same.",
      meet: "Drop what is kept for older revisions in `published`, not what the last listing named.",
    },
  ],
};

/** `undefined` for a part that has none. */
export function ruleFor(part: string, name: string): string | undefined {
  const found = RULES[part]?.find(({ about }) => about.test(name));
  return found === undefined ? undefined : `The rule: ${found.rule}\nMeet it: ${found.meet}`;
}
