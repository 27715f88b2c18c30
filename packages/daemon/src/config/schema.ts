/** The form of the configuration file, from which also its JSON Schema is made. */
import { constants } from "node:os";
import {
  listMountOptions,
  type MountOption,
  type MountOptionName,
  type MountOptionValues,
  parseCount,
  parseDuration,
  readOption,
  UsageError,
} from "@pannier/core";
import * as z from "zod/mini";

/** Text or a number, read by one of the engine's own functions: what the flags take, the file takes. */
function read<Value>(parse: (text: string) => Value, description: string) {
  return z
    .pipe(
      z.union([z.string(), z.number()]),
      z.transform((given: string | number, context) => {
        try {
          return parse(String(given));
        } catch (error) {
          if (!(error instanceof UsageError)) throw error;
          const advice = error.hint === undefined ? "" : ` (${error.hint})`;
          context.issues.push({ code: "custom", message: error.message + advice, input: given });
          return z.NEVER;
        }
      }),
    )
    .check(z.describe(description));
}

const duration = (description: string) => read((given) => parseDuration(given), description);
/** A duration that is not 0. */
const span = (description: string) =>
  read((given) => {
    const milliseconds = parseDuration(given);
    if (milliseconds === 0) throw new UsageError("it must be greater than 0");
    return milliseconds;
  }, description);
const count = (description: string, least = 1) =>
  read((given) => parseCount(given, least), description);

const text = (description: string) => z.string().check(z.minLength(1), z.describe(description));
const path = (description: string) => text(`${description} Relative to the file's directory.`);
const flag = (description: string) =>
  z
    .union([
      z.boolean(),
      z.pipe(
        z.enum(["true", "false"]),
        z.transform((on) => on === "true"),
      ),
    ])
    .check(z.describe(description));

const credentials = z
  .strictObject({
    username: z.optional(text("Name to sign in with.")),
    password: z.optional(text("Password; `${NAME}` keeps it out of the file.")),
    passwordFile: z.optional(path("File with the password, read anew at each use.")),
    tokenFile: z.optional(path("File with a token, read anew at each use.")),
    sshKeyFile: z.optional(path("Private key for ssh.")),
    sshKnownHostsFile: z.optional(path("Known hosts for ssh.")),
    caFile: z.optional(path("PEM certificates trusted in addition to the system's.")),
    clientCertFile: z.optional(path("PEM client certificate.")),
    clientKeyFile: z.optional(path("Key of the client certificate.")),
    cookieFile: z.optional(path("Netscape cookie file.")),
    askpassUrl: z.optional(text("URL that answers `username=` and `password=` lines.")),
    githubApp: z.optional(
      z
        .strictObject({
          appId: text("App id, or client id."),
          installationId: text("Installation id."),
          privateKeyFile: path("Private key of the app."),
          apiUrl: z.optional(text("API base URL, for GitHub Enterprise.")),
        })
        .check(z.describe("GitHub App, which makes tokens of an hour.")),
    ),
  })
  .check(z.describe("Credentials, in place of those of the environment."));

const source = z.strictObject({
  url: text("URL or path of the source."),
  into: z.optional(text("Directory of the tree that it is placed in. Default: the tree's root.")),
  adapter: z.optional(text("Adapter, whatever the URL's scheme.")),
  credentials: z.optional(credentials),
  signedBy: z.optional(
    z
      .array(z.string())
      .check(z.describe("Who has to have signed it, in place of the mount's signedBy.")),
  ),
});

export type SourceFile = z.infer<typeof source>;

const timeout = (standard: string) =>
  z.optional(
    span(`Time allowed for one run; then its whole process group is killed. Default ${standard}.`),
  );
const environment = z.optional(
  z
    .record(z.string(), z.string())
    .check(z.describe("Variables beside those of every hook; `${NAME}` passes one of ours on.")),
);
const command = z
  .array(z.string())
  .check(z.minLength(1), z.describe("Program and arguments; no shell is put in between."));

const prePublish = z
  .strictObject({
    command,
    timeout: timeout("60s"),
    env: environment,
    retry: z.optional(
      duration("Time after which a revision that was refused is asked about again. Default 10m."),
    ),
  })
  .check(
    z.describe(
      "Runs in the candidate tree before it is published; unless it ends with 0, what was published stays.",
    ),
  );

const retries = z.optional(count("How often a run that failed is tried again. Default 5.", 0));
const postPublish = z.union([
  z.strictObject({ command, timeout: timeout("60s"), env: environment, retries }),
  z.strictObject({
    url: text("URL to call; any status of 200 to 299 is success.").check(
      z.refine((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? ""), {
        error: "it is not an http or https URL",
      }),
    ),
    method: z.optional(z.enum(["GET", "POST", "PUT"]).check(z.describe("Default POST."))),
    headers: z.optional(
      z.record(z.string(), z.string()).check(z.describe("Headers of the request.")),
    ),
    timeout: timeout("10s"),
    retries,
  }),
  z.strictObject({
    signal: text("Signal to send, such as HUP.").check(
      z.refine((name) => Object.hasOwn(constants.signals, name.replace(/^(SIG)?/, "SIG")), {
        error: "there is no such signal",
      }),
    ),
    process: text("Name of the program to send it to, in a shared process namespace."),
    retries,
  }),
]);

const pushTo = text(
  "Image to push each revision to: oci://registry/repository:tag, oci+http://…, oci+file:///dir:tag.",
);
const push = z.strictObject({
  to: pushTo,
  layers: z.optional(
    read((given) => {
      const layers = parseCount(given, 1);
      if (layers > 100) throw new UsageError("an image has at most 100 layers");
      return layers;
    }, "Layers of the image at most; 1: a plain tar.gz, as Flux reads it. Default 100."),
  ),
  credentials: z.optional(credentials),
  sign: z.optional(
    z
      .strictObject({
        keyFile: path("Private key: one of cosign, or in PEM."),
        passwordFile: z.optional(path("File with its password.")),
      })
      .check(z.describe("What the image is signed with, before the tag names it.")),
  ),
});

type OptionSchemas = {
  readonly [Name in MountOptionName]: z.ZodMiniOptional<
    z.ZodMiniType<NonNullable<MountOptionValues[Name]>>
  >;
};

/** The keys of the options that the engine knows. */
const mountOptions = Object.fromEntries(
  listMountOptions().map(([name, option]) => [name, z.optional(schemaOf(option))]),
) as unknown as OptionSchemas;

function schemaOf(option: MountOption) {
  const { description, default: standard, otherwise, placeholder, repeatable, values } = option;
  const sentence = `${description.charAt(0).toUpperCase()}${description.slice(1)}. Default: ${standard ?? otherwise}.`;
  if (placeholder === undefined) return flag(sentence);
  if (repeatable === true) return z.array(z.string()).check(z.describe(sentence));
  if (values !== undefined) return z.enum(values).check(z.describe(sentence));
  return read((given) => readOption(option, given), sentence);
}

const mount = z.strictObject({
  name: z.optional(
    z
      .string()
      .check(
        z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "letters, digits, and . _ - between them"),
        z.describe("Name in logs, metrics and paths. Default: the target's last element."),
      ),
  ),
  target: path("Directory to keep equal to the sources."),
  sources: z
    .array(
      z.union([
        source,
        z.pipe(
          text("URL or path of the source."),
          z.transform((url): SourceFile => ({ url })),
        ),
      ]),
    )
    .check(z.minLength(1), z.describe("Later ones lie over earlier ones.")),
  adapter: z.optional(
    text("Adapter for its sources of the adapter's schemes; for all of them where it fits none."),
  ),
  credentials: z.optional(credentials),
  ...mountOptions,
  push: z.optional(
    z
      .union([pushTo, push])
      .check(z.describe("Where each revision goes after it was published, for others to follow.")),
  ),
  hooks: z.optional(
    z
      .strictObject({
        prePublish: z.optional(prePublish),
        postPublish: z.optional(
          z
            .union([postPublish, z.array(postPublish)])
            .check(
              z.describe("Runs after a revision was published, once for each; one or several."),
            ),
        ),
      })
      .check(z.describe("What runs before and after a revision is published.")),
  ),
});

export const configSchema = z.strictObject({
  mounts: z
    .array(mount)
    .check(z.minLength(1), z.describe("Directories to keep in sync, each with its sources.")),
  http: z.optional(
    z
      .strictObject({
        enabled: z.optional(flag("Whether there is an HTTP port at all. Default true.")),
        host: z.optional(text("Address to listen at. Default: all.")),
        port: z.optional(
          read((value) => {
            const port = parseCount(value, 0);
            if (port > 65_535) throw new UsageError(`${port} is not a valid port`);
            return port;
          }, "Default 8080."),
        ),
        dashboard: z.optional(flag("Whether there is a dashboard. Default true.")),
        triggerTokenFile: z.optional(
          path("File with the token that POST /sync and /rollback ask for."),
        ),
        webhookSecretFile: z.optional(path("File with the secret that webhooks are signed with.")),
      })
      .check(z.describe("The port for probes, metrics, webhooks and the dashboard.")),
  ),
  maxActive: z.optional(count("Mounts at work at once. Default 4.")),
  maxFailures: z.optional(
    count("End the process when a mount failed more often than this in a row. Default: never.", 0),
  ),
  shutdownGrace: z.optional(
    duration("Time for hooks under way when the process is to end. Default 10s."),
  ),
});

export type ConfigFile = z.infer<typeof configSchema>;
export type MountFile = ConfigFile["mounts"][number];

/** The JSON Schema of the configuration file. */
export function configJsonSchema(): Record<string, unknown> {
  return {
    title: "Pannier",
    description: "Configuration file of pannier run.",
    ...z.toJSONSchema(configSchema, { io: "input" }),
  };
}
