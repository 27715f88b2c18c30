/** Every command, as data: what the command line, the help, completion and the manual are made from. */
import { type FlagName, mountFlags } from "./flags.ts";
import type { Invocation } from "./invocation.ts";

export interface CommandSpec {
  readonly name: string;
  /** As in the help text: `SOURCE... TARGET`. */
  readonly arguments: string;
  /** How many arguments there may be at most. */
  readonly most: number;
  readonly summary: string;
  readonly details?: string;
  readonly flags: readonly FlagName[];
  /** Whether it changes what is published, without a dry run. */
  readonly publishes?: boolean;
  readonly examples: readonly string[];
  /** What a failure was in the way of, as in `cannot sync https://…`. */
  readonly verb: string;
  /** The code stays unloaded until the command is asked for. */
  readonly load: () => Promise<{ readonly run: (invocation: Invocation) => Promise<number> }>;
}

const OUTPUT: readonly FlagName[] = ["json", "logFormat", "logLevel"];
const PLAN: readonly FlagName[] = ["adapter", ...mountFlags("plan")];
const SYNC: readonly FlagName[] = ["adapter", ...mountFlags("plan", "sync")];
const FOLLOW: readonly FlagName[] = ["adapter", ...mountFlags("plan", "sync", "follow")];

const PLACES =
  "SOURCE is a URL or a path. Several sources are layers: later ones win. PANNIER_SOURCE (one source per line) and PANNIER_TARGET replace missing arguments.";

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: "sync",
    arguments: "SOURCE... TARGET",
    most: Infinity,
    summary: "make TARGET equal to the sources, once",
    details: `${PLACES}\nRead the content at TARGET/current. Pannier replaces this link atomically when a new revision is complete.`,
    flags: [...SYNC, "dryRun", "once", ...OUTPUT],
    examples: [
      "pannier sync 'git+https://git.example.com/web/site.git?ref=main&path=public' ./site",
      "pannier sync https://example.com/site.tar.gz ./site --max-bytes 200Mi",
      "pannier sync ./base ./overrides ./site --exclude '*.psd'",
    ],
    verb: "sync",
    load: () => import("./commands/sync.ts"),
  },
  {
    name: "watch",
    arguments: "SOURCE... TARGET",
    most: Infinity,
    summary: "sync, then follow the sources until a signal",
    details: `${PLACES}\nSIGINT and SIGTERM end it with exit code 0. SIGUSR1 starts a sync now.`,
    flags: [...FOLLOW, "dryRun", "once", ...OUTPUT],
    examples: [
      "pannier watch git+ssh://git@git.example.com/web/site.git /srv/site --period 30s",
      "pannier watch https://example.com/app.json ./config --json",
    ],
    verb: "follow",
    load: () => import("./commands/watch.ts"),
  },
  {
    name: "push",
    arguments: "SOURCE... DESTINATION",
    most: Infinity,
    summary: "push the sources to an OCI registry as an image, for others to follow",
    details:
      "DESTINATION is oci://REGISTRY/REPOSITORY:TAG, oci+http:// for a registry without TLS, or oci+file:///DIR:TAG for an image layout.\nPannier sends only layers that are not there yet. It signs in to the registry with the user and password in DESTINATION, or with the credentials of docker, podman or the registry's cloud. The variables for credentials are for the sources.",
    flags: [...SYNC, "layers", "sign", "signPasswordFile", "work", ...OUTPUT],
    publishes: true,
    examples: [
      "pannier push 'git+https://git.example.com/web/site.git?ref=main' oci://registry.example.com/web/site:live",
      "pannier push ./base ./overrides oci+file:///srv/layout:v1 --work /var/lib/pannier/site",
    ],
    verb: "push",
    load: () => import("./commands/push.ts"),
  },
  {
    name: "run",
    arguments: "",
    most: 0,
    summary: "keep every mount of a configuration in sync, with probes, metrics and hooks",
    details:
      "The mounts come from the configuration file. Or PANNIER_SOURCE (one source per line) and PANNIER_TARGET describe one mount.\nWith a file, the flags of a mount are defaults for all mounts in it. SIGINT and SIGTERM end it with exit code 0.",
    flags: [
      "config",
      "http",
      ...FOLLOW,
      "once",
      "maxActive",
      "maxFailures",
      "shutdownGrace",
      "logFormat",
      "logLevel",
    ],
    publishes: true,
    examples: [
      "pannier run --config pannier.yaml",
      "PANNIER_SOURCE='git+https://git.example.com/web/site.git?ref=main' PANNIER_TARGET=/content pannier run",
    ],
    verb: "run",
    load: () => import("./commands/run.ts"),
  },
  {
    name: "init",
    arguments: "[URL]",
    most: 1,
    summary: "write a commented configuration file to start from",
    details:
      "URL is the source of the mount in it. The file must not exist yet. The command also writes the JSON Schema, with which editors complete and check the file.",
    flags: ["config", "adapter"],
    examples: ["pannier init s3://brand-assets/logos/", "pannier init --config site.yaml"],
    verb: "configure",
    load: () => import("./commands/init.ts"),
  },
  {
    name: "validate",
    arguments: "[FILE]",
    most: 1,
    summary: "list all mistakes in a configuration file",
    details:
      "Finds what run would refuse. It does not connect to the sources. Without FILE, it checks the configuration that run would read. If it finds a mistake, the exit code is 2.",
    flags: ["config", "adapter", ...OUTPUT],
    examples: ["pannier validate", "pannier validate site.yaml --json"],
    verb: "validate",
    load: () => import("./commands/validate.ts"),
  },
  {
    name: "schema",
    arguments: "",
    most: 0,
    summary: "print the JSON Schema of the configuration file",
    flags: [],
    examples: ["pannier schema > pannier.schema.json"],
    verb: "print",
    load: () => import("./commands/schema.ts"),
  },
  {
    name: "plan",
    arguments: "SOURCE... TARGET",
    most: Infinity,
    summary: "show what a sync would add, change and delete",
    details: PLACES,
    flags: [...PLAN, ...OUTPUT],
    examples: ["pannier plan https://example.com/site.tar.gz ./site"],
    verb: "plan",
    load: () => import("./commands/plan.ts"),
  },
  {
    name: "ls",
    arguments: "SOURCE",
    most: 1,
    summary: "list the entries of a source",
    details:
      "Prints size, time and path of each entry, in the source's order. --json prints one object per line.",
    flags: ["adapter", "include", "exclude", "timeout", ...OUTPUT],
    examples: [
      "pannier ls 'git+https://git.example.com/web/site.git?ref=v1.2'",
      "pannier ls ./site --include '*.html' --json",
    ],
    verb: "list",
    load: () => import("./commands/ls.ts"),
  },
  {
    name: "verify",
    arguments: "TARGET",
    most: 1,
    summary: "compare what is published with what was recorded",
    details:
      "Reads every file. If there is a difference, the exit code is 6, unless --repair repaired it.\n--repair takes the flags of the sync. The sources are those in PANNIER_SOURCE, else the recorded ones, without user and password.",
    flags: ["repair", ...PLAN, ...OUTPUT],
    examples: ["pannier verify ./site", "pannier verify ./site --repair"],
    verb: "repair from",
    load: () => import("./commands/verify.ts"),
  },
  {
    name: "status",
    arguments: "TARGET",
    most: 1,
    summary: "show what is published, since when and from where",
    flags: OUTPUT,
    examples: ["pannier status ./site --json"],
    verb: "read",
    load: () => import("./commands/status.ts"),
  },
  {
    name: "history",
    arguments: "TARGET",
    most: 1,
    summary: "list the revisions that were published",
    flags: OUTPUT,
    examples: ["pannier history ./site"],
    verb: "read",
    load: () => import("./commands/history.ts"),
  },
  {
    name: "rollback",
    arguments: "TARGET [REVISION]",
    most: 2,
    summary: "publish an earlier revision that is still kept",
    details:
      "Without REVISION, it publishes the one before the current one. Pannier then holds back the sources: syncs publish again only after the sources change.",
    flags: OUTPUT,
    publishes: true,
    examples: ["pannier rollback ./site", "pannier rollback ./site 3f2a9c1"],
    verb: "roll back",
    load: () => import("./commands/rollback.ts"),
  },
  {
    name: "adapters",
    arguments: "",
    most: 0,
    summary: "list the installed adapters, with their schemes and options",
    flags: ["adapter", ...OUTPUT],
    examples: ["pannier adapters"],
    verb: "load",
    load: () => import("./commands/adapters.ts"),
  },
  {
    name: "doctor",
    arguments: "[SOURCE]",
    most: 1,
    summary: "test a source step by step, and say which step fails and why",
    details:
      "Finds the adapter and the credentials, connects, signs in, lists and reads a little. It writes nothing, and gives up after a minute, or after --timeout. With --mount, it tests each source of that mount in the configuration.",
    flags: ["mount", "config", "adapter", "timeout", ...OUTPUT],
    examples: [
      "pannier doctor git+ssh://git@git.example.com/web/site.git",
      "pannier doctor --mount site --config pannier.yaml",
    ],
    verb: "use",
    load: () => import("./commands/doctor.ts"),
  },
  {
    name: "completion",
    arguments: "SHELL",
    most: 1,
    summary: "print the completion script for bash, zsh or fish",
    flags: [],
    examples: [
      "source <(pannier completion bash)",
      'pannier completion zsh > "${fpath[1]}/_pannier"',
      "pannier completion fish > ~/.config/fish/completions/pannier.fish",
    ],
    verb: "print",
    load: () => import("./commands/completion.ts"),
  },
  {
    name: "bundle",
    arguments: "",
    most: 0,
    summary: "build a program with the adapters you choose, for an image",
    details:
      "An adapter is the name of a built-in one, a package, or a path. DIR also gets lists of the system packages that the adapters need, a bill of materials and the licenses. The same input gives the same bytes.",
    flags: ["adapters", "out", ...OUTPUT],
    examples: [
      "pannier bundle --adapters git,s3 --out ./bundle",
      "pannier bundle --adapters git,./shelf-adapter.js --out ./bundle",
    ],
    verb: "bundle",
    load: () => import("./commands/bundle.ts"),
  },
];
