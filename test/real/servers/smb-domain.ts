/**
 * An Active Directory, which Samba is as well, with a server of Samba that is a member of it: who signs in there is a user of
 * the domain, and of no other. Its ports are fixed, so it has a network of its own, which whoever asks it has to enter.
 */
import { type ChildProcess, execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { writeKrb5Config } from "./kerberos.ts";
import { end, type Ground, listeningPorts, run, until } from "./process.ts";
import { configureSmb, smbArguments } from "./smb.ts";

/** What a domain is started from: that takes seconds of CPU, so it is left to the test that wants one. */
export interface SmbDomainPlace {
  readonly dir: string;
  readonly samba: string;
  readonly sambaTool: string;
  readonly net: string;
  readonly winbindd: string;
  readonly smbd: string;
  readonly kinit: string;
}

export interface SmbDomain {
  /** The command that runs another one where the servers are. */
  readonly by: readonly string[];
  /** Of the member. */
  readonly host: string;
  /** What the member's share `files` shows. */
  readonly root: string;
  readonly domain: string;
  readonly realm: string;
  readonly user: string;
  readonly password: string;
  /** What clients have as `KRB5_CONFIG`. */
  readonly krb5Config: string;
  /** Puts tickets into a file. */
  getTickets(cache: string): Promise<void>;
  stop(): Promise<void>;
}

const DOMAIN = "PANNIER";
const REALM = "pannier.test";
const CONTROLLER = "dc.pannier.test";
const MEMBER = "member.pannier.test";
const MEMBER_ADDRESS = "127.0.0.2";
const USER = "domain-user";
const PASSWORD = "Passw0rd of the domain";
/** What users' and groups' numbers in the domain are added to, on the member. */
const FIRST_ID = 100_000;

/** What comes in packages beside the programs: only one of them has a place that is known. */
export function missingForDomain(): string | undefined {
  return existsSync("/usr/share/samba/setup/provision.ldif")
    ? undefined
    : "no data to provision a domain with: test/real/run installs what is missing";
}

export async function prepareSmbDomain(
  { base }: Ground,
  samba: string,
  sambaTool: string,
  net: string,
  winbindd: string,
  smbd: string,
  kinit: string,
): Promise<SmbDomainPlace> {
  return { dir: join(base, "smb-domain"), samba, sambaTool, net, winbindd, smbd, kinit };
}

export async function startSmbDomain(place: SmbDomainPlace): Promise<SmbDomain> {
  const { dir, samba, sambaTool, net, winbindd, smbd, kinit } = place;
  const root = join(dir, "files");
  const member = join(dir, "member");
  const controller = join(dir, "controller");
  await mkdir(dir);
  for (const directory of [root, member, controller]) await mkdir(directory);
  const krb5Config = join(dir, "krb5.conf");
  await writeKrb5Config(krb5Config, REALM.toUpperCase());
  await writeFile(
    join(dir, "hosts"),
    `127.0.0.1 localhost ${CONTROLLER} dc\n${MEMBER_ADDRESS} ${MEMBER}\n`,
  );
  // Where programs of Samba find winbindd is built into them.
  const ownRun = "mkdir -p /run/samba\nmount -t tmpfs tmpfs /run/samba";
  const log = `>>${dir}/log 2>&1`;
  await writeFile(join(dir, "empty"), "");
  const server = run("unshare", [
    "--net",
    "--mount",
    "sh",
    "-ec",
    `
mount --bind ${dir}/hosts /etc/hosts
${ownRun}
ip link set lo up
ip address add ${MEMBER_ADDRESS}/8 dev lo
${sambaTool} domain provision --configfile=${dir}/empty --targetdir=${controller} --realm=${REALM} --domain=${DOMAIN} \
  --host-name=dc --host-ip=127.0.0.1 --dns-backend=NONE --adminpass='${PASSWORD}' \
  --option='interfaces = 127.0.0.1' --option='bind interfaces only = yes' ${log}
exec ${samba} --foreground --no-process-group --configfile=${controller}/etc/smb.conf --debug-stdout ${log}
`,
  ]);
  const children: ChildProcess[] = [server];
  const pid = server.pid as number;
  const by = ["nsenter", `--net=/proc/${pid}/ns/net`, `--mount=/proc/${pid}/ns/mnt`];
  const inside = async (command: readonly string[], env: Record<string, string> = {}) => {
    const [program, ...args] = [...by, ...command];
    await promisify(execFile)(program as string, args, { env: { ...process.env, ...env } });
  };
  const stop = async () => {
    for (const child of children.toReversed()) await end(child);
  };
  /** Until ports are open, each by so many. */
  const open = (name: string, wanted: Readonly<Record<number, number>>) =>
    until(
      name,
      async () => {
        if (server.exitCode !== null) throw new Error(`${name} ended with ${server.exitCode}`);
        const ports = await listeningPorts(pid);
        return Object.entries(wanted).every(
          ([port, count]) => ports.filter((one) => one === Number(port)).length === count,
        );
      },
      60_000,
    );
  try {
    await open("the domain controller", { 88: 1, 389: 1, 445: 1 });
    const controllerConfig = `--configfile=${controller}/etc/smb.conf`;
    await inside([sambaTool, "user", "create", USER, PASSWORD, controllerConfig]);
    const config = await configureSmb({
      root,
      dir: member,
      address: `${MEMBER_ADDRESS}/8`,
      port: 445,
      role: "member server",
      settings: [
        "security = ads",
        `realm = ${REALM}`,
        "netbios name = MEMBER",
        `password server = ${CONTROLLER}`,
        "name resolve order = host",
        "rpc start on demand helpers = no",
        "idmap config * : backend = tdb",
        "idmap config * : range = 10000-19999",
        `idmap config ${DOMAIN} : backend = rid`,
        `idmap config ${DOMAIN} : range = ${FIRST_ID}-199999`,
      ],
    });
    const administrator = `Administrator%${PASSWORD}`;
    const joining = ["ads", "join", "--no-dns-updates", "-S", CONTROLLER, "-U", administrator];
    await inside([net, ...joining, `--configfile=${config}`]);
    // A member wants its domain's users among those of the system; and where there is no module for that, they are written down.
    const script = `
${ownRun}
${winbindd} --foreground --no-process-group --configfile=${config} ${log} &
until wbinfo --ping ${log}; do sleep 0.1; done
sid=$(wbinfo --name-to-sid '${DOMAIN}\\${USER}')
number=$(echo "$sid" | sed 's/.*-\\([0-9]*\\) .*/\\1/')
cp /etc/passwd ${dir}/passwd
printf '%s:x:%s:${FIRST_ID + 513}::/nonexistent:/bin/false\\n' '${DOMAIN}\\${USER}' $((${FIRST_ID} + number)) >>${dir}/passwd
mount --bind ${dir}/passwd /etc/passwd
exec ${smbd} ${smbArguments(config).join(" ")} ${log}
`;
    const [program, ...args] = [...by, "unshare", "--mount", "sh", "-ec", script];
    children.push(run(program as string, args));
    await open("the member of the domain", { 445: 2 });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    by,
    host: MEMBER,
    root,
    domain: DOMAIN,
    realm: REALM,
    user: USER,
    password: PASSWORD,
    krb5Config,
    async getTickets(cache) {
      const file = join(dir, "password");
      await writeFile(file, `${PASSWORD}\n`);
      await chmod(file, 0o600);
      const command = `${kinit} -c ${cache} ${USER} <${file}`;
      await inside(["sh", "-ec", command], { KRB5_CONFIG: krb5Config });
    },
    stop,
  };
}
