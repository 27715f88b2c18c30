/**
 * Builds images from `apps/sidecar/Dockerfile` and runs them, with buildah and podman and a store of their own.
 * Nothing is pulled: the base is made by mmdebstrap, and what the image is made with is that base with Node and npm.
 */
import { execFile } from "node:child_process";
import { copyFile, cp, mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram } from "../real/servers/process.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const DOCKERFILE = join(CHECKOUT, "apps/sidecar/Dockerfile");
const baseOf = (suite: Suite) => `localhost/pannier-base:${suite}`;
const BUILD = "localhost/pannier-build";

/** A store of images; plain data, which goes from the set-up to the tests. */
export interface Images {
  readonly directory: string;
  /** Of podman, which differ by the machine. */
  readonly flags: readonly string[];
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes the store with its base; or says why that is not possible here. */
export async function prepareImages(): Promise<Images | string> {
  if (process.getuid?.() !== 0) return "images are built as root only";
  const absent = ["buildah", "podman", "mmdebstrap"].filter(
    (name) => findProgram(name) === undefined,
  );
  if (absent.length > 0) return `${absent.join(" and ")} not installed`;

  const directory = await mkdtemp(join(tmpdir(), "pannier-images-"));
  try {
    await makeBase(directory, "bookworm");
    const flags = await findFlags(directory);
    if (flags === undefined) {
      await removeImages(directory);
      return "podman cannot start a container here";
    }
    await makeBuildImage(directory);
    return { directory, flags };
  } catch (error) {
    await removeImages(directory);
    throw error;
  }
}

export async function removeImages(directory: string): Promise<void> {
  await execute("podman", [...store(directory), "rm", "--all", "--force", "--time", "0"]);
  // Its layers are mounts until it lets go of them.
  await execute("buildah", [...store(directory), "rm", "--all"]);
  await rm(directory, { recursive: true, force: true });
}

/** Of Debian: 12, which is the default, and 13. */
export type Suite = "bookworm" | "trixie";

/** The image of these adapters; everything up to the choice is done once. */
export async function buildImage(
  { directory }: Images,
  adapters: string,
  { suite = "bookworm", packages = "" }: { suite?: Suite; packages?: string } = {},
): Promise<{ readonly image: string; readonly bytes: number }> {
  const image = `localhost/pannier:${`${adapters}-${suite}`.replaceAll(/[^a-z0-9]+/g, "-")}`;
  if (suite !== "bookworm") await makeBase(directory, suite);
  await bud(directory, image, DOCKERFILE, CHECKOUT, {
    BUILD_IMAGE: BUILD,
    BASE_IMAGE: baseOf(suite),
    PACKAGES: packages,
    ADAPTERS: adapters,
  });
  const inspected = ["inspect", "--type", "image", "--format", "{{.Size}}", image];
  const { stdout } = await execute("podman", [...store(directory), ...inspected]);
  return { image, bytes: Number(stdout) };
}

/** nginx, for containers that show what is published. */
export async function buildNginx({ directory }: Images): Promise<string> {
  const image = "localhost/nginx";
  const context = join(directory, "nginx");
  await mkdir(context, { recursive: true });
  await writeFile(
    join(context, "Dockerfile"),
    `FROM ${baseOf("bookworm")}
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light\n`,
  );
  await bud(directory, image, join(context, "Dockerfile"), context);
  return image;
}

/** The command line of podman, with this store. */
export function podmanOf({ directory, flags }: Images): readonly string[] {
  return ["podman", ...store(directory), ...flags];
}

/** As a cluster with restricted pods runs it: nobody's privileges, a root that cannot be written to, the usual seccomp filter. */
const RESTRICTED = [
  "--read-only",
  "--read-only-tmpfs=false",
  "--cap-drop=all",
  "--security-opt=no-new-privileges",
  "--network=host",
  "--ulimit=nofile=1024:1024",
  "--ulimit=nproc=1024:1024",
];

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Directory of this machine → place in the container. */
  readonly volumes?: Readonly<Record<string, string>>;
  readonly entrypoint?: string;
  /** Further ones of podman: another user, a namespace. */
  readonly flags?: readonly string[];
}

export function startContainer(
  { directory, flags }: Images,
  image: string,
  args: readonly string[],
  { env = {}, volumes = {}, entrypoint, flags: more = [] }: RunOptions = {},
): { readonly name: string; readonly ended: Promise<Outcome> } {
  const name = `pannier-${process.pid}-${++started}`;
  const ended = execute("podman", [
    ...store(directory),
    ...flags,
    "run",
    "--rm",
    `--name=${name}`,
    ...RESTRICTED,
    ...more,
    ...Object.entries(env).flatMap(([key, value]) => ["--env", `${key}=${value}`]),
    ...Object.entries(volumes).flatMap(([from, to]) => ["--volume", `${from}:${to}`]),
    ...(entrypoint === undefined ? [] : ["--entrypoint", entrypoint]),
    image,
    ...args,
  ]);
  return { name, ended };
}

let started = 0;

export function runContainer(
  images: Images,
  image: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<Outcome> {
  return startContainer(images, image, args, options).ended;
}

/** As `kubectl exec` does it. */
export function execIn(
  { directory, flags }: Images,
  name: string,
  args: readonly string[],
): Promise<Outcome> {
  return execute("podman", [...store(directory), ...flags, "exec", name, ...args]);
}

/** The number of a container's process 1, as this machine counts. */
export async function processOf({ directory }: Images, name: string): Promise<number> {
  const inspected = ["inspect", "--type", "container", "--format", "{{.State.Pid}}", name];
  return Number((await must("podman", [...store(directory), ...inspected])).stdout);
}

/** As a cluster ends a pod: SIGTERM, and SIGKILL after the grace period. */
export async function stopContainer({ directory }: Images, name: string): Promise<void> {
  await execute("podman", [...store(directory), "stop", "--time", "20", name]);
}

/** Debian's smallest system with apt, without what images usually leave out. */
async function makeBase(directory: string, suite: Suite): Promise<void> {
  const context = join(directory, `base-${suite}`);
  await mkdir(context);
  const excluded = ["doc", "man", "locale", "info", "lintian"].map(
    (name) => `/usr/share/${name}/*`,
  );
  await must("mmdebstrap", [
    "--quiet",
    "--variant=apt",
    "--include=usr-is-merged,libatomic1,libstdc++6,tini",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--dpkgopt=force-unsafe-io",
    ...excluded.map((path) => `--dpkgopt=path-exclude=${path}`),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    suite,
    join(context, "base.tar"),
  ]);
  await writeFile(join(context, "Dockerfile"), "FROM scratch\nADD base.tar /\n");
  await bud(directory, baseOf(suite), join(context, "Dockerfile"), context);
  await rm(join(context, "base.tar"));
}

/** The base with Node and npm as they are here, and what npm here needs to reach its registry. */
async function makeBuildImage(directory: string): Promise<void> {
  const context = join(directory, "build");
  await mkdir(context);
  const npm = dirname(dirname(await realpath(findProgram("npm") as string)));
  await cp(npm, join(context, "npm"), { recursive: true });
  await copyFile(await realpath(process.execPath), join(context, "node"));
  const { stdout: registry } = await must("npm", ["config", "get", "registry"]);
  const certificates = "/etc/ssl/certs/ca-certificates.crt";
  await copyFile(certificates, join(context, "ca.crt"));
  await writeFile(join(context, "npmrc"), `registry=${registry}cafile=/etc/ssl/npm.crt\n`);
  await writeFile(
    join(context, "Dockerfile"),
    [
      `FROM ${baseOf("bookworm")}`,
      "COPY node /usr/local/bin/node",
      "COPY npm /usr/local/lib/npm",
      "COPY ca.crt /etc/ssl/npm.crt",
      "COPY npmrc /root/.npmrc",
      "RUN ln -s ../lib/npm/bin/npm-cli.js /usr/local/bin/npm",
      "RUN apt-get update && apt-get install -y --no-install-recommends binutils",
    ].join("\n"),
  );
  await bud(directory, BUILD, join(context, "Dockerfile"), context);
}

/** Which cgroups there are to manage differs from machine to machine, and so does what a runtime makes of them. */
async function findFlags(directory: string): Promise<readonly string[] | undefined> {
  const candidates = [
    [],
    ["--runtime=runc", "--cgroup-manager=cgroupfs"],
    ["--runtime=crun", "--cgroup-manager=cgroupfs"],
  ];
  for (const flags of candidates) {
    const { code } = await runContainer({ directory, flags }, baseOf("bookworm"), ["true"]);
    if (code === 0) return flags;
  }
  return undefined;
}

async function bud(
  directory: string,
  image: string,
  dockerfile: string,
  context: string,
  args: Readonly<Record<string, string>> = {},
): Promise<void> {
  const cache = join(tmpdir(), "pannier-npm-cache");
  await mkdir(cache, { recursive: true });
  await must("buildah", [
    ...store(directory),
    "bud",
    "--isolation=chroot",
    "--layers",
    "--pull-never",
    `--volume=${cache}:/root/.npm`,
    ...Object.entries(args).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
    `--tag=${image}`,
    `--file=${dockerfile}`,
    context,
  ]);
}

function store(directory: string): string[] {
  return ["--root", join(directory, "root"), "--runroot", join(directory, "runroot")];
}

function execute(program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((done) => {
    const options = { maxBuffer: 64 << 20 };
    execFile(program, args, options, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

async function must(program: string, args: readonly string[]): Promise<Outcome> {
  const outcome = await execute(program, args);
  if (outcome.code !== 0)
    throw new Error(`${program}: ${(outcome.stdout + outcome.stderr).slice(-4000)}`);
  return outcome;
}
