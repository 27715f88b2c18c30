/** A context of libsmbclient: how it signs in, and what it may do. */
import { writeSync } from "node:fs";
import { CallError, type Native } from "./native.ts";
import type { Connection } from "./protocol.ts";

/** From libsmbclient.h: SMBC_ENCRYPTLEVEL_DEFAULT, SMBC_ENCRYPTLEVEL_REQUIRE. */
const ENCRYPT_DEFAULT = -1;
const ENCRYPT_REQUIRE = 2;
/** libsmbclient keeps names and passwords in buffers of this size, with a NUL at the end. */
const BUFFER = 256;
/** Milliseconds for one request. Whoever waits for the helper has a better idea of what is too long, and ends it. */
const REQUEST_TIMEOUT_MS = 3_600_000;

/**
 * Makes the one context of the process.
 *
 * @returns what throws CallError `unencrypted` where encryption is required and a connection has none
 */
export function openContext(native: Native, connection: Connection): () => void {
  const { koffi, call, checked, failure, memfd } = native;
  const context = call.newContext();
  if (context === null) throw failure();
  checked(() => call.configure(context, settingsFile(connection, memfd)));
  const { user, password, domain, by } = connection;
  const putDomain = domain === undefined ? undefined : putter(domain);
  const putUser = putter(user);
  const putPassword = putter(password);
  const signIn = koffi.register(
    (
      _context: unknown,
      _server: unknown,
      _share: unknown,
      domainAt: unknown,
      domainSize: number,
      userAt: unknown,
      userSize: number,
      passwordAt: unknown,
      passwordSize: number,
    ) => {
      putDomain?.(domainAt, domainSize);
      putUser(userAt, userSize);
      putPassword(passwordAt, passwordSize);
    },
    koffi.pointer("SignIn"),
  );
  call.setSignIn(context, signIn);
  // With a user set, the library asks only when it connects, and takes the password for empty when it finds that connection
  // again by the user's name; servers behind DFS links are then signed in to without one.
  call.setUser(context, "");
  call.setTimeout(context, REQUEST_TIMEOUT_MS);
  call.setNoAnonymous(context, by === "guest" ? 0 : 1);
  call.setKerberos(context, by === "kerberos" ? 1 : 0);
  call.setFallback(context, 0);
  // What winbind keeps of who signed in on this machine is nobody's who gave no password.
  call.setCache(context, 0);
  const mustEncrypt = connection.encrypt === "required";
  call.setEncryption(context, mustEncrypt ? ENCRYPT_REQUIRE : ENCRYPT_DEFAULT);
  if (call.initContext(context) === null) throw failure();
  call.setContext(context);

  /** Made once: it is asked for with each request. */
  function putter(text: string): (at: unknown, size: number) => void {
    const bytes = Buffer.from(`${text}\0`);
    const type = koffi.array("uint8_t", bytes.length);
    return (at, size) => {
      if (bytes.length <= Math.min(size, BUFFER)) koffi.encode(at, type, bytes);
    };
  }

  /**
   * The library connects when it has to, and again when it lost a connection. Some versions (4.17) say that they will not go on
   * without encryption, and then do: so it is asked after each call that may have connected, before content is asked for.
   */
  function checkEncryption(): void {
    if (mustEncrypt && Number(call.option(context, "smb_encrypt_on")) !== 1) {
      throw new CallError("unencrypted");
    }
  }
  return checkEncryption;
}

/**
 * Settings that there are no calls for, as a file that is in memory only. Where nothing is said here, the machine's own
 * `/etc/samba/smb.conf` counts.
 *
 * Names are asked of the system's resolver and no other, and each time; nothing is kept on disk. SMB 1 is never spoken.
 */
function settingsFile(
  { sign, by, encrypt }: Connection,
  memfd: (name: string, flags: number) => number,
): string {
  const signed = sign === "required" || (sign === "auto" && by !== "guest");
  const settings = {
    "client min protocol": "SMB2_02",
    "client max protocol": "SMB3",
    // What servers that DFS links lead to are held to: those are not among what the library tells of encryption.
    ...(encrypt === "required" && { "client smb encrypt": "required" }),
    "client signing": signed ? "required" : "if_required",
    "name resolve order": "host",
    "name cache timeout": "0",
    "disable netbios": "yes",
    "cache directory": "/dev/null/none",
    "lock directory": "/dev/null/none",
    "state directory": "/dev/null/none",
    "private dir": "/dev/null/none",
    "log level": "0",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  const file = memfd("smb.conf", 0);
  writeSync(file, `[global]\n${lines.join("")}`);
  return `/proc/self/fd/${file}`;
}
