/**
 * Samba with a realm of MIT Kerberos, and with links of DFS. Clients follow those to port 445 and no other, and use Kerberos
 * for no server that is `localhost` or an address: so all this has a network and an `/etc/hosts` of its own, which whoever
 * asks it has to enter.
 */
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { writeKrb5Config } from "./kerberos.ts";
import { type Ground, listeningPorts, run, until } from "./process.ts";
import { configureSmb, setSmbPassword, smbArguments } from "./smb.ts";

export interface SmbRealm {
  /** The command that runs another one where the servers are. */
  readonly by: readonly string[];
  /** The server's name, as its principal has it. */
  readonly host: string;
  /** What the server's share `files` shows; symlinks there to `msdfs:HOST\\SHARE\\PATH` are links. */
  readonly root: string;
  /** Another server, which does not encrypt, and what its share `files` shows. */
  readonly linkedHost: string;
  readonly linkedRoot: string;
  /** Another name of the server, which the realm does not know. */
  readonly strangeHost: string;
  readonly user: string;
  readonly password: string;
  /** What clients have as `KRB5_CONFIG`. */
  readonly krb5Config: string;
  /** The user's key, and the program that gets tickets for it. */
  readonly keytab: string;
  readonly kinit: string;
}

const REALM = "PANNIER.TEST";
const HOST = "files.pannier.test";
const STRANGE_HOST = "strange.pannier.test";
const LINKED_HOST = "linked.pannier.test";
const LINKED = "127.0.0.2";

export async function startSmbRealm(
  { base, children }: Ground,
  smbd: string,
  _smbpasswd: string,
  krb5kdc: string,
  kdb5Util: string,
  kadmin: string,
  kinit: string,
  unshare: string,
): Promise<SmbRealm> {
  const dir = join(base, "smb-realm");
  const [root, linkedRoot] = [join(base, "smb-realm-files"), join(base, "smb-realm-linked")];
  const [own, linked] = [join(dir, "own"), join(dir, "linked")];
  await mkdir(dir, { mode: 0o700 });
  for (const directory of [root, linkedRoot, own, linked]) await mkdir(directory);
  const user = userInfo().username;
  const password = "password of the realm";

  const krb5Config = join(dir, "krb5.conf");
  await writeKrb5Config(krb5Config, REALM);
  // A server of Samba that is on its own refuses tickets with a PAC, which is Windows' list of the user's groups.
  await writeFile(
    join(dir, "kdc.conf"),
    `[kdcdefaults]
kdc_listen = 127.0.0.1:88
kdc_tcp_listen = 127.0.0.1:88
[realms]
${REALM} = {
  database_name = ${dir}/principals
  key_stash_file = ${dir}/stash
  acl_file = ${dir}/acl
  disable_pac = true
}
`,
  );
  const environment = { KRB5_CONFIG: krb5Config, KRB5_KDC_PROFILE: join(dir, "kdc.conf") };
  const administrate = (program: string, ...args: readonly string[]) =>
    execFileSync(program, args, { env: { ...process.env, ...environment }, stdio: "ignore" });
  const keytab = join(dir, "user.keytab");
  const serverKeytab = join(dir, "server.keytab");
  administrate(kdb5Util, "create", "-s", "-P", "master", "-r", REALM);
  for (const [principal, file] of [
    [user, keytab],
    [`cifs/${HOST}`, serverKeytab],
    [`cifs/${LINKED_HOST}`, serverKeytab],
  ]) {
    administrate(kadmin, "-r", REALM, "-q", `addprinc -randkey ${principal}`);
    administrate(kadmin, "-r", REALM, "-q", `ktadd -k ${file} ${principal}`);
  }

  const port = 445;
  const kerberos = [
    `realm = ${REALM}`,
    "kerberos method = dedicated keytab",
    `dedicated keytab file = ${serverKeytab}`,
  ];
  const links = ["host msdfs = yes", "msdfs root = yes"];
  const configs = [
    await configureSmb({ root, dir: own, port, settings: [...kerberos, ...links] }),
    await configureSmb({
      root: linkedRoot,
      dir: linked,
      address: `${LINKED}/8`,
      port,
      settings: [...kerberos, "server smb encrypt = off"],
    }),
  ];
  for (const one of [own, linked]) setSmbPassword({ dir: one, port, user }, password);
  const hosts = `127.0.0.1 localhost ${HOST} ${STRANGE_HOST}\n${LINKED} ${LINKED_HOST}\n`;
  await writeFile(join(dir, "hosts"), hosts);
  const script = `
export ${Object.entries(environment)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ")}
mount --bind ${dir}/hosts /etc/hosts
ip link set lo up
ip address add ${LINKED}/8 dev lo
${krb5kdc} -n -P ${dir}/kdc.pid 2>${dir}/kdc.log &
${configs.map((config) => `${smbd} ${smbArguments(config).join(" ")} &`).join("\n")}
wait
`;
  const server = run(unshare, ["--net", "--mount", "sh", "-ec", script]);
  children.push(server);
  const pid = server.pid as number;
  await until("Samba with a realm", async () => {
    if (server.exitCode !== null) throw new Error(`it ended with ${server.exitCode}`);
    const open = await listeningPorts(pid);
    return open.includes(88) && open.filter((one) => one === port).length === configs.length;
  });
  return {
    by: ["nsenter", `--net=/proc/${pid}/ns/net`, `--mount=/proc/${pid}/ns/mnt`],
    host: HOST,
    root,
    linkedHost: LINKED_HOST,
    linkedRoot,
    strangeHost: STRANGE_HOST,
    user,
    password,
    krb5Config,
    keytab,
    kinit,
  };
}

/** Puts tickets into a file. */
export function getTickets(
  { by, user, krb5Config, keytab, kinit }: SmbRealm,
  cache: string,
  seconds = 3600,
): void {
  const [command, ...args] = [...by, kinit, "-l", `${seconds}s`, "-k", "-t", keytab, "-c", cache];
  execFileSync(command as string, [...args, user], {
    env: { ...process.env, KRB5_CONFIG: krb5Config },
    stdio: "ignore",
  });
}
