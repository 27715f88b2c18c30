/** One connection to an FTP server: made, encrypted, signed in, and set up. It does one thing at a time. */
import { type Credentials, type Location, SourceError } from "@pannier/core";
import { type Environment, readTlsFiles } from "@pannier/http-client";
import type { Socket } from "node:net";
import type { Client, FTPResponse } from "basic-ftp";
import { bytesOf, checkArgument } from "./names.ts";
import type { Tls } from "./options.ts";
import { loginOf } from "./sign-in.ts";

export interface ConnectionInit {
  readonly location: Location;
  readonly tls: Tls;
  readonly credentials: Credentials;
  readonly env: Environment;
  readonly idleTimeout: number;
}

export interface Connection {
  readonly client: Client;
  readonly idleTimeout: number;
  /** What the server says it can, in upper case. */
  readonly features: ReadonlySet<string>;
  /** Where the user is after signing in, as bytes, without a `/` at the end. */
  readonly home: string;
  /** Becomes false where the server does not know EPSV. */
  extendedPassive: boolean;
  /** How directories are listed without MLSD: not every server knows `-a`. */
  list: "LIST -a" | "LIST";
  /** The data connection under way. */
  data: Socket | undefined;
  closed(): boolean;
  close(): void;
}

/** FTPS ports of RFC 4217 and of custom. */
const PORTS: Readonly<Record<Tls, number>> = { off: 21, explicit: 21, implicit: 990 };

/** @throws SourceError, UsageError, or an FTPError for the pool to look at where the server takes no more connections */
export async function connect(init: ConnectionInit): Promise<Connection> {
  const { location, tls, credentials, env, idleTimeout } = init;
  const [{ Client }, login, files] = await Promise.all([
    import("basic-ftp"),
    loginOf(location, credentials, env),
    tls === "off" ? {} : readTlsFiles(credentials),
  ]);
  const host = location.host.replace(/^\[|\]$/g, "");
  const port = location.port ?? PORTS[tls];
  const client = new Client(idleTimeout);
  client.ftp.encoding = "latin1";
  writeNoStacks(client);
  /** basic-ftp does not watch over a TLS handshake. */
  const step = <Result>(work: Promise<Result>) => inTime(work, idleTimeout, () => client.close());
  let greeting = "";
  const greeted = <Result>(work: Promise<Result>) => {
    client.ftp.socket.once("data", (text) => (greeting = String(text)));
    return step(work);
  };
  try {
    const secure = { ...files, host };
    if (tls === "implicit") await greeted(client.connectImplicitTLS(host, port, secure));
    else await greeted(client.connect(host, port));
    client.ftp.socket.setNoDelay(true);
    if (tls === "explicit") await step(startTls(client, secure));
    const { user, password } = login;
    await step(client.login(checkArgument(bytesOf(user)), checkArgument(bytesOf(password))));
    const { features, home } = await step(setUp(client, tls));
    const connection: Connection = {
      client,
      idleTimeout,
      features,
      home,
      extendedPassive: true,
      list: "LIST -a",
      data: undefined,
      closed: () => client.closed,
      close() {
        connection.data?.destroy();
        client.close();
      },
    };
    return connection;
  } catch (error) {
    client.close();
    if (greeting === "" || /^\d{3}/.test(greeting)) throw error;
    throw new SourceError("unavailable", "the server does not speak FTP", {
      transient: false,
      hint: "check the port in the URL",
    });
  }
}

/**
 * basic-ftp writes down the stack at each command, for whoever gives two at once: a tenth of the processor time of many
 * small files.
 */
function writeNoStacks({ ftp }: Client): void {
  const handle = ftp.handle.bind(ftp);
  ftp.handle = (command, onReply) => {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      return handle(command, onReply);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  };
}

async function startTls(client: Client, secure: object): Promise<void> {
  try {
    await client.useTLS(secure);
  } catch (error) {
    const { name } = error as Error;
    if (name !== "FTPError") throw error;
    throw new SourceError("unsupported", "the server has no TLS on this port", {
      hint: "without tls=explicit it is asked without encryption, password included",
    });
  }
}

async function setUp(client: Client, tls: Tls): Promise<Pick<Connection, "features" | "home">> {
  if (tls !== "off") {
    await client.send("PBSZ 0");
    await client.send("PROT P");
  }
  const features = new Set([...(await client.features()).keys()].map((name) => name.toUpperCase()));
  await client.send("TYPE I");
  if (features.has("UTF8")) await client.sendIgnoringError("OPTS UTF8 ON");
  if (features.has("MLST")) {
    await client.sendIgnoringError("OPTS MLST type;size;modify;unix.mode;");
  }
  return { features, home: homeOf(await client.send("PWD")) };
}

/** `257 "/a ""quoted"" name" is …`: RFC 959, appendix II. */
function homeOf({ message }: FTPResponse): string {
  const quoted = /"((?:[^"]|"")*)"/.exec(message)?.[1] ?? "/";
  return quoted.replaceAll('""', '"').replace(/\/+$/, "");
}

/** Waits for a step, and ends the connection where it takes too long. */
export async function inTime<Result>(
  work: Promise<Result>,
  idleTimeout: number,
  give: () => void,
): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new SourceError("unavailable", "the server did not answer in time"));
    give();
  }, idleTimeout);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
