/** One connection to an FTP server: made, encrypted, signed in, and set up. It does one thing at a time. */
import { type Credentials, type Location, SourceError } from "@pannier/core/adapter";
import { type Environment, readTlsFiles } from "@pannier/http-client";
import type { Socket } from "node:net";
import type { Client, FTPResponse } from "basic-ftp";
import { markAnonymous, refusalOf } from "./errors.ts";
import { checkArgument } from "./names.ts";
import type { Tls } from "./options.ts";
import { bytesOf } from "./path.ts";
import { ANONYMOUS, loginOf } from "./sign-in.ts";
import { isUnknown, type Ways } from "./ways.ts";

export interface ConnectionInit {
  readonly location: Location;
  readonly tls: Tls;
  readonly credentials: Credentials;
  readonly env: Environment;
  readonly idleTimeout: number;
  /** Of all connections to the server. */
  readonly ways: Ways;
}

export interface Connection {
  readonly client: Client;
  readonly idleTimeout: number;
  readonly ways: Ways;
  /** Where the user is after signing in, as bytes, without a `/` at the end. */
  readonly home: string;
  /** The data connection under way. */
  data: Socket | undefined;
  /** Sends a command that has one reply, which has to be complete in time. @throws FTPError where the server refuses */
  send(command: string): Promise<FTPResponse>;
  /**
   * Sends commands that have one reply each, all at once.
   *
   * @returns their replies in order, as FTPError where the server refuses
   * @throws SourceError `unavailable` where a reply does not come in time, or one came too many: the server then gets no more at once
   */
  sendAll(commands: readonly string[]): Promise<readonly (FTPResponse | Error)[]>;
  closed(): boolean;
  close(): void;
}

/** Milliseconds from the first reply to the second, where commands were sent at once. */
const SECOND_AFTER_MS = 3000;
/** Ends commands that were sent at once. Every server has said 200 to it by then, which is the reply to no other of them. */
const LAST = "TYPE I";
/** Servers that forget a command which came before they had answered the one before: as lftp knows them. */
const ONE_BY_ONE = /icrosoft FTP Service|MadGoat|MikroTik/;
/** Bytes: what basic-ftp takes. */
const LONGEST_REPLY = 65_536;
/** FTPS ports of RFC 4217 and of custom. */
export const PORTS: Readonly<Record<Tls, number>> = { off: 21, explicit: 21, implicit: 990 };

/** @throws SourceError, UsageError, or an FTPError for the pool to look at where the server accepts no more connections */
export async function connect(init: ConnectionInit): Promise<Connection> {
  const { location, tls, credentials, env, idleTimeout, ways } = init;
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
  waitForWholeLines(client);
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
    if (ONE_BY_ONE.test(greeting)) ways.refuse("AT-ONCE");
    const home = await setUp(client, tls, ways, step);
    const connection: Connection = {
      client,
      idleTimeout,
      ways,
      home,
      data: undefined,
      send: (command) => step(client.send(command)),
      sendAll: (commands) => sendAll(client, commands, ways, idleTimeout),
      closed: () => client.closed,
      close() {
        connection.data?.destroy();
        client.close();
      },
    };
    return connection;
  } catch (error) {
    client.close();
    if (login === ANONYMOUS) markAnonymous(error);
    if (greeting === "" || /^\d{3}/.test(greeting)) throw error;
    throw new SourceError("unavailable", "the server does not speak FTP", {
      transient: false,
      hint: "check the port in the URL",
    });
  }
}

async function sendAll(
  client: Client,
  commands: readonly string[],
  ways: Ways,
  idleTimeout: number,
): Promise<readonly (FTPResponse | Error)[]> {
  const replies: (FTPResponse | Error)[] = [];
  let timer = setTimeout(late, idleTimeout);

  function late(): void {
    if (replies.length > 0) ways.refuse("AT-ONCE");
    client.close();
  }

  try {
    // It is told no command: it takes one at a time.
    const all = client.ftp.handle(undefined, (reply, task) => {
      if (reply instanceof Error && refusalOf(reply) === undefined) return task.reject(reply);
      replies.push(reply);
      if (replies.length > commands.length) return task.resolve(undefined);
      clearTimeout(timer);
      timer = setTimeout(late, replies.length === 1 ? SECOND_AFTER_MS : idleTimeout);
    });
    const lines = [...commands.map(checkArgument), LAST, ""];
    client.ftp.socket.write(lines.join("\r\n"), "latin1");
    await all;
    const last = replies.pop();
    if (!(last instanceof Error) && last?.code === 200) return replies;
    // With one reply too many, each would be taken for that of the command before.
    late();
    throw new SourceError("unavailable", "the server's replies are not those to its commands");
  } finally {
    clearTimeout(timer);
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

/** basic-ftp takes what a packet ends with for the end of a reply: of "213 600" that came in two, for one of 6 bytes. */
function waitForWholeLines({ ftp }: Client): void {
  const NAME = "_onControlSocketData";
  const receiver = ftp as unknown as Record<typeof NAME, (text: string) => void>;
  const take = receiver[NAME].bind(ftp);
  let rest = "";
  receiver[NAME] = (text) => {
    const end = text.lastIndexOf("\n") + 1;
    // Longer than any reply may be: that ends the connection.
    if (end === 0 && rest.length < LONGEST_REPLY) {
      rest += text;
      return;
    }
    const whole = rest + (end === 0 ? text : text.slice(0, end));
    rest = end === 0 ? "" : text.slice(end);
    take(whole);
  };
}

async function startTls(client: Client, secure: object): Promise<void> {
  try {
    await client.useTLS(secure).catch((error: unknown) => {
      if (!isUnknown(error)) throw error;
      // As it was called before RFC 4217.
      return client.useTLS(secure, "AUTH SSL");
    });
  } catch (error) {
    if (refusalOf(error) === undefined) throw error;
    throw new SourceError("unsupported", "the server has no TLS on this port", {
      hint: "without tls=explicit everything is sent unencrypted, the password included",
    });
  }
}

/** @returns where the user is after signing in */
async function setUp(
  client: Client,
  tls: Tls,
  ways: Ways,
  step: <Result>(work: Promise<Result>) => Promise<Result>,
): Promise<string> {
  if (tls !== "off") {
    // Whatever is answered: data connections are encrypted, or there are none.
    await step(client.sendIgnoringError("PBSZ 0"));
    await step(client.sendIgnoringError("PROT P"));
  }
  const answered = await step(client.features());
  const features = new Set([...answered.keys()].map((name) => name.toUpperCase()));
  ways.learn(features);
  await step(client.send("TYPE I"));
  if (ways.can("UTF8")) await step(client.sendIgnoringError("OPTS UTF8 ON"));
  if (features.has("MLST")) {
    await step(client.sendIgnoringError("OPTS MLST type;size;modify;unix.mode;"));
  }
  const here = await step(
    client.send("PWD").catch((error: unknown) => {
      if (!isUnknown(error)) throw error;
      return client.send("XPWD");
    }),
  );
  return homeOf(here);
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
