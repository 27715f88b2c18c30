/** vsftpd, which lists for people (LIST, MDTM), and proftpd, which lists for programs (MLSD): without TLS and with it. */
import { type ChildProcess, execFileSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join, resolve } from "node:path";
import { makeCertificates, makeExpired } from "./certificates.ts";
import { type Ground, listening, run } from "./process.ts";

export interface FtpServer {
  readonly name: "vsftpd" | "proftpd";
  readonly plain: number;
  /** `AUTH TLS`, and data connections only on the control connection's session. */
  readonly explicit: number;
  readonly implicit: number;
  /** As {@link FtpServer.explicit}, with a certificate that has expired. */
  readonly expired: number;
  /** Without EPSV, and PASV tells an address that cannot be reached: a server behind NAT. */
  readonly nat: number;
  /** Takes two connections of one client and no more. */
  readonly limited: number;
  readonly user: string;
  readonly password: string;
  /** See {@link setFtpPassword}. */
  readonly passwordFile: string;
  readonly ca: string;
  /** What users see as `/`, or their login directory; all may read it. */
  readonly root: string;
  /** What {@link runFtp} needs. */
  readonly dir: string;
  readonly program: string;
}

/** Which of its ways a server is started in. */
type Way = "plain" | "explicit" | "implicit" | "expired" | "nat" | "limited";

const WAYS: readonly Way[] = ["plain", "explicit", "implicit", "expired", "nat", "limited"];
const PASSWORD = "correct horse battery";

export function startVsftpd(ground: Ground, program: string): Promise<FtpServer> {
  return start("vsftpd", ground, program);
}

export function startProftpd(ground: Ground, program: string): Promise<FtpServer> {
  return start("proftpd", ground, program);
}

async function start(name: FtpServer["name"], ground: Ground, program: string): Promise<FtpServer> {
  const dir = join(ground.base, name);
  const root = join(ground.base, `${name}-files`);
  await mkdir(dir);
  await mkdir(root);
  makeCertificates(dir);
  makeExpired(dir);
  const server = {
    name,
    // vsftpd has no users of its own but the anonymous one, whose password may be asked for.
    user: name === "vsftpd" ? "anonymous" : "reader",
    password: name === "vsftpd" ? "reader@example.com" : PASSWORD,
    passwordFile: join(dir, "passwords"),
    ca: join(dir, "ca.pem"),
    root,
    dir,
    program,
  };
  await setFtpPassword(server, server.password);
  const ports: Partial<Record<Way, number>> = {};
  for (const way of WAYS) {
    const started = await listening(name, 1, ([port]) => runFtp(server, port as number, way));
    ground.children.push(started.child);
    ports[way] = started.ports[0] as number;
  }
  return { ...server, ...(ports as Record<Way, number>) };
}

/** Changes the password of the user. */
export async function setFtpPassword(
  { name, passwordFile, root }: Pick<FtpServer, "name" | "passwordFile" | "root">,
  password: string,
): Promise<void> {
  if (name === "vsftpd") return writeFile(passwordFile, `${password}\n`);
  const hash = execFileSync("openssl", ["passwd", "-6", "-stdin"], { input: password });
  const { uid, gid } = userInfo();
  // Not as root, whom it refuses.
  const [user, group] = uid === 0 ? [65_534, 65_534] : [uid, gid];
  await writeFile(
    passwordFile,
    `reader:${hash.toString().trim()}:${user}:${group}::${root}:/bin/false\n`,
  );
  await chmod(passwordFile, 0o600);
}

/** Runs one more of the same on a port: what is to be killed or stopped in a test is the test's own. */
export async function runFtp(
  server: Pick<FtpServer, "name" | "dir" | "root" | "program" | "passwordFile">,
  port: number,
  way: Way = "plain",
): Promise<ChildProcess> {
  const { name, dir, program } = server;
  const file = join(dir, `${way}-${port}.conf`);
  if (name === "vsftpd") {
    await writeFile(file, vsftpdConfig(server, port, way));
    return run(program, [file]);
  }
  await writeFile(file, proftpdConfig(server, port, way));
  return run(program, ["-n", "-q", "-c", file]);
}

type Settings = Pick<FtpServer, "dir" | "root" | "program" | "passwordFile">;

/** Without spaces around `=`, as vsftpd wants it. */
function vsftpdConfig({ dir, root, passwordFile }: Settings, port: number, way: Way): string {
  const certificate = way === "expired" ? "expired" : "server";
  const tls = [
    "ssl_enable=YES",
    "allow_anon_ssl=YES",
    "force_anon_logins_ssl=YES",
    "force_anon_data_ssl=YES",
    "require_ssl_reuse=YES",
    "ssl_tlsv1=YES",
    `rsa_cert_file=${dir}/${certificate}.pem`,
    `rsa_private_key_file=${dir}/${certificate}.key`,
    ...(way === "implicit" ? ["implicit_ssl=YES"] : []),
  ];
  return [
    "listen=YES",
    "listen_address=127.0.0.1",
    `listen_port=${port}`,
    "background=NO",
    // As whoever starts it, without a prison: so it needs no privileges.
    "run_as_launching_user=YES",
    "anonymous_enable=YES",
    "secure_email_list_enable=YES",
    `email_password_file=${passwordFile}`,
    `anon_root=${root}`,
    "anon_world_readable_only=NO",
    "connect_from_port_20=NO",
    "seccomp_sandbox=NO",
    "xferlog_enable=NO",
    `vsftpd_log_file=${dir}/vsftpd.log`,
    ...(way === "nat" ? ["pasv_address=10.11.12.13", "cmds_denied=EPSV"] : []),
    ...(way === "limited" ? ["max_per_ip=2"] : []),
    ...(way === "explicit" || way === "implicit" || way === "expired" ? tls : []),
    "",
  ].join("\n");
}

function proftpdConfig(
  { dir, root, program, passwordFile }: Settings,
  port: number,
  way: Way,
): string {
  const modules = resolve(program, "../../lib/proftpd");
  const certificate = way === "expired" ? "expired" : "server";
  const { uid, username } = userInfo();
  const tls = `
LoadModule mod_tls.c
<IfModule mod_tls.c>
  TLSEngine on
  TLSRequired on
  TLSECCertificateFile ${dir}/${certificate}.pem
  TLSECCertificateKeyFile ${dir}/${certificate}.key
  TLSLog ${dir}/tls.log
  ${way === "implicit" ? "TLSOptions UseImplicitSSL" : ""}
</IfModule>`;
  return `
ModulePath ${modules}
ServerName test
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port ${port}
UseIPv6 off
UseReverseDNS off
WtmpLog off
TransferLog none
SystemLog ${dir}/proftpd.log
PidFile ${dir}/proftpd-${port}.pid
ScoreboardFile ${dir}/scoreboard-${port}
DelayEngine off
User ${uid === 0 ? "nobody" : username}
Group ${uid === 0 ? "nogroup" : "#"}
AuthOrder mod_auth_file.c
AuthUserFile ${passwordFile}
RequireValidShell off
DefaultRoot ${root}
AllowOverwrite off
<Limit WRITE>
  DenyAll
</Limit>
${way === "nat" ? "MasqueradeAddress 10.11.12.13\n<Limit EPSV>\n  DenyAll\n</Limit>" : ""}
${way === "limited" ? 'MaxClientsPerHost 2 "Sorry, the maximum number of connections (%m) for your host are already connected."' : ""}
${way === "explicit" || way === "implicit" || way === "expired" ? tls : ""}
`;
}
