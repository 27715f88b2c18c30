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
    password: z.optional(text("Password. Write `${NAME}` to take it from the environment.")),
    passwordFile: z.optional(path("File with the password, read again at each use.")),
    tokenFile: z.optional(path("File with a token, read again at each use.")),
    sshKeyFile: z.optional(path("Private key for SSH.")),
    sshKnownHostsFile: z.optional(path("Known hosts for SSH.")),
    caFile: z.optional(path("CA certificates in PEM, trusted in addition to the system's.")),
    clientCertFile: z.optional(path("Client certificate in PEM.")),
    clientKeyFile: z.optional(path("Private key of the client certificate.")),
    cookieFile: z.optional(path("Netscape cookie file.")),
    askpassUrl: z.optional(text("URL that answers with the lines `username=` and `password=`.")),
    githubApp: z.optional(
      z
        .strictObject({
          appId: text("ID of the app, or its client ID."),
          installationId: text("ID of the installation."),
          privateKeyFile: path("Private key of the app."),
          apiUrl: z.optional(text("Base URL of the API, for GitHub Enterprise.")),
        })
        .check(z.describe("GitHub App to sign in with. Its tokens are valid for an hour.")),
    ),
  })
  .check(z.describe("Credentials. They replace those from the environment."));

const source = z.strictObject({
  url: text("URL or path of the source."),
  into: z.optional(
    text("Directory of the tree to place the source in. Default: the root of the tree."),
  ),
  adapter: z.optional(text("Adapter for this source, whatever the scheme of its URL.")),
  credentials: z.optional(credentials),
  signedBy: z.optional(
    z
      .array(z.string())
      .check(z.describe("Trusted signers of this source. They replace `signedBy` of the mount.")),
  ),
});

export type SourceFile = z.infer<typeof source>;

const commandTimeout = z.optional(
  span("Time limit of one run. Pannier then kills the whole process group. Default: 60s."),
);
const environment = z.optional(
  z
    .record(z.string(), z.string())
    .check(
      z.describe("Additional variables. Write `${NAME}` to pass on one of the sidecar's own."),
    ),
);
const command = z
  .array(z.string())
  .check(z.minLength(1), z.describe("Program and its arguments, run without a shell."));

const prePublish = z
  .strictObject({
    command,
    timeout: commandTimeout,
    env: environment,
    retry: z.optional(
      duration("Time until Pannier asks again about a refused revision. Default: 10m."),
    ),
  })
  .check(
    z.describe(
      "Runs in the candidate tree. If it exits with anything but 0, Pannier keeps the published revision.",
    ),
  );

const retries = z.optional(count("Number of retries after a failed run. Default: 5.", 0));
const postPublish = z.union([
  z.strictObject({ command, timeout: commandTimeout, env: environment, retries }),
  z.strictObject({
    url: text("URL to call. Any status from 200 to 299 is success.").check(
      z.refine((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? ""), {
        error: "it is not an http or https URL",
      }),
    ),
    method: z.optional(
      z.enum(["GET", "POST", "PUT"]).check(z.describe("HTTP method. Default: POST.")),
    ),
    headers: z.optional(
      z.record(z.string(), z.string()).check(z.describe("Headers of the request.")),
    ),
    timeout: z.optional(span("Time limit of one call. Default: 10s.")),
    retries,
  }),
  z.strictObject({
    signal: text("Signal to send, such as HUP.").check(
      z.refine((name) => Object.hasOwn(constants.signals, name.replace(/^(SIG)?/, "SIG")), {
        error: "there is no such signal",
      }),
    ),
    process: text("Name of the program that gets the signal, in a shared process namespace."),
    retries,
  }),
]);

const pushTo = text(
  "Image to push each revision to: oci://registry/repository:tag, oci+http://…, oci+file:///dir:tag, oci+s3://bucket/prefix:tag, and the same with oci+gs, oci+az, oci+dav and oci+davs.",
);
const push = z.strictObject({
  to: pushTo,
  layers: z.optional(
    read((given) => {
      const layers = parseCount(given, 1);
      if (layers > 100) throw new UsageError("an image has at most 100 layers");
      return layers;
    }, "Maximum number of layers. 1 makes a plain tar.gz, as Flux reads it. Default: 100."),
  ),
  credentials: z.optional(credentials),
  sign: z.optional(
    z
      .strictObject({
        keyFile: path("Private key, from cosign or in PEM."),
        passwordFile: z.optional(path("File with the password of the key.")),
      })
      .check(z.describe("Key that signs the image, before the tag moves to it.")),
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
        z.describe("Name in logs, metrics and URLs. Default: the last path segment of the target."),
      ),
  ),
  target: path("Directory to sync to."),
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
    .check(z.minLength(1), z.describe("One or more sources. Later sources win.")),
  adapter: z.optional(
    text(
      "Adapter for the sources with a scheme of that adapter, or for all sources if none has one.",
    ),
  ),
  credentials: z.optional(credentials),
  ...mountOptions,
  push: z.optional(
    z
      .union([pushTo, push])
      .check(z.describe("Image to push each published revision to, for others to follow.")),
  ),
  hooks: z.optional(
    z
      .strictObject({
        prePublish: z.optional(prePublish),
        postPublish: z.optional(
          z
            .union([postPublish, z.array(postPublish)])
            .check(
              z.describe("One hook or a list of hooks. Each runs once per published revision."),
            ),
        ),
      })
      .check(
        z.describe("Commands, calls and signals before and after Pannier publishes a revision."),
      ),
  ),
});

export const configSchema = z.strictObject({
  mounts: z
    .array(mount)
    .check(z.minLength(1), z.describe("Directories to sync, each with its sources.")),
  http: z.optional(
    z
      .strictObject({
        enabled: z.optional(flag("Whether to open the HTTP port. Default: true.")),
        host: z.optional(text("Address to listen on. Default: all addresses.")),
        port: z.optional(
          read((value) => {
            const port = parseCount(value, 0);
            if (port > 65_535) throw new UsageError(`${port} is not a valid port`);
            return port;
          }, "Port to listen on. Default: 8080."),
        ),
        dashboard: z.optional(flag("Whether to serve the dashboard. Default: true.")),
        triggerTokenFile: z.optional(
          path("File with the token for POST /sync and POST /rollback."),
        ),
        webhookSecretFile: z.optional(path("File with the secret of webhooks.")),
      })
      .check(z.describe("HTTP port for probes, metrics, webhooks and the dashboard.")),
  ),
  maxActive: z.optional(count("Number of mounts that sync at the same time. Default: 4.")),
  maxFailures: z.optional(
    count("Exit if a mount fails more often than this in a row. Default: never.", 0),
  ),
  shutdownGrace: z.optional(
    duration("Time for running hooks when a signal stops the process. Default: 10s."),
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
