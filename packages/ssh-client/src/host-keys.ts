/** Whether a server's host key is to be trusted: by a pinned fingerprint, or by known hosts files as sshd(8) describes them. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { readCredentialFile, SourceError } from "@pannier/core/lane";
import { ownFile } from "./home.ts";

interface HostKeys {
  /** Algorithms to ask the server for, those of known keys first. */
  readonly algorithms: readonly string[];
  /** Why a key is refused; `undefined` where it is trusted. */
  refuse(key: Buffer): SourceError | undefined;
}

export interface Trust {
  readonly host: string;
  readonly port: number;
  /** As `parseHostKey` gives them: nothing else is then looked at. */
  readonly pinned: readonly string[] | undefined;
  /** A file that must be there; otherwise those that ssh reads by default, as far as they are. */
  readonly knownHostsFile: string | undefined;
}

interface KnownHost {
  readonly revoked: boolean;
  readonly type: string;
  readonly key: Buffer;
}

/** In the order in which OpenSSH prefers them. SHA-1 signatures (`ssh-rsa`) are not taken any more. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

/** @throws SourceError `auth` where the known hosts file cannot be read */
export async function readHostKeys(trust: Trust): Promise<HostKeys> {
  if (trust.pinned !== undefined) return pinnedKeys(trust.pinned);
  const lines = await readLines(trust.knownHostsFile);
  const name = nameOf(trust.host, trust.port);
  const known = lines.map((line) => parseLine(line, name)).filter((one) => one !== undefined);
  const trusted = known.filter(({ revoked }) => !revoked);
  const types = [...new Set([...trusted.map(({ type }) => type), ...Object.keys(ALGORITHMS)])];
  return {
    algorithms: types.flatMap((type) => ALGORITHMS[type] ?? []),
    refuse(key) {
      const same = known.filter((one) => one.key.equals(key));
      if (same.some(({ revoked }) => revoked)) {
        return refused(key, "is revoked in the known hosts file", "do not connect to this server");
      }
      if (same.length > 0) return undefined;
      return trusted.length > 0
        ? refused(
            key,
            "is not the one in the known hosts file",
            "if the server was given a new key, put that into the known hosts file; otherwise somebody may be in between",
          )
        : refused(
            key,
            "is not in the known hosts file",
            "check the fingerprint, then put the key (ssh-keyscan HOST shows it) into credentials.sshKnownHostsFile or ~/.ssh/known_hosts, or pin it with hostKey=SHA256:…",
          );
    },
  };
}

function pinnedKeys(pinned: readonly string[]): HostKeys {
  return {
    algorithms: Object.values(ALGORITHMS).flat(),
    refuse: (key) =>
      pinned.includes(fingerprintOf(key))
        ? undefined
        : refused(
            key,
            "is not the pinned one",
            "compare it with the option hostKey; a server has one for each kind of key",
          ),
  };
}

function refused(key: Buffer, why: string, hint: string): SourceError {
  const message = `the server's ssh host key (${typeOf(key)} ${fingerprintOf(key)}) ${why}`;
  return new SourceError("auth", message, { reached: "answered", hint });
}

/** As `ssh-keygen -l` writes it. */
function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** A key begins with the name of its type: RFC 4253, 6.6. */
function typeOf(key: Buffer): string {
  const length = key.length >= 4 ? key.readUInt32BE() : 0;
  return key
    .subarray(4, 4 + Math.min(length, 64))
    .toString("latin1")
    .replace(/[^\x21-\x7e]/g, "?");
}

async function readLines(file: string | undefined): Promise<readonly string[]> {
  if (file !== undefined) {
    const text = await readCredentialFile(file, "known hosts file", { mayBeEmpty: true });
    return text.toString().split("\n");
  }
  const texts = await Promise.all(
    [
      ownFile("known_hosts"),
      ownFile("known_hosts2"),
      "/etc/ssh/ssh_known_hosts",
      "/etc/ssh/ssh_known_hosts2",
    ]
      .filter((path) => path !== undefined)
      .map((path) => readFile(path, "utf8").catch(() => "")),
  );
  return texts.join("\n").split("\n");
}

/** What a host is called in known hosts files. */
function nameOf(host: string, port: number): string {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  return port === 22 ? bare : `[${bare}]:${port}`;
}

/** What a line says of a host. Certificate authorities are not supported: their lines say nothing. */
function parseLine(line: string, name: string): KnownHost | undefined {
  const fields = line.trim().split(/\s+/);
  const marker = fields[0]?.startsWith("@") === true ? fields.shift() : undefined;
  const [hosts, type, key] = fields;
  if (hosts === undefined || hosts.startsWith("#") || type === undefined || key === undefined)
    return undefined;
  if (marker !== undefined && marker !== "@revoked") return undefined;
  if (!matchesHost(hosts, name)) return undefined;
  return { revoked: marker === "@revoked", type, key: Buffer.from(key, "base64") };
}

function matchesHost(hosts: string, name: string): boolean {
  if (hosts.startsWith("|1|")) return matchesHash(hosts, name);
  let matched = false;
  for (const pattern of hosts.toLowerCase().split(",")) {
    const negated = pattern.startsWith("!");
    if (!matchesPattern(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}

/** `|1|salt|HMAC-SHA1 of the name`, as `HashKnownHosts` and `ssh-keygen -H` write it. */
function matchesHash(hashed: string, name: string): boolean {
  const [salt = "", digest = ""] = hashed.slice(3).split("|");
  const expected = Buffer.from(digest, "base64");
  const actual = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

/** `*` and `?` as in ssh_config(5); all else stands for itself. */
function matchesPattern(pattern: string, name: string): boolean {
  const source = pattern.replace(/[*?]|[^*?]+/g, (part) =>
    part === "*" ? ".*" : part === "?" ? "." : part.replace(/[\\^$.|+()[\]{}]/g, "\\$&"),
  );
  return new RegExp(`^${source}$`, "s").test(name);
}
