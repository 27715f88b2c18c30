/** Options in the URL's query, and what is made of them and of the URL. */
import {
  type Location,
  type OptionSpecs,
  type OptionValues,
  UsageError,
} from "@pannier/core/adapter";
import { isExposed, markerOption, optionalEndpoint, parseEndpoint } from "@pannier/object-store";

export const gcsOptions = {
  project: {
    type: "string",
    description: "project to sign in for, instead of the one that the credentials name",
    placeholder: "PROJECT",
  },
  endpoint: {
    type: "string",
    description: "base URL of the API, for emulators and private access; default: Google's",
    placeholder: "URL",
  },
  anonymous: {
    type: "boolean",
    default: false,
    description: "do not sign in, for public buckets and emulators",
  },
  userProject: {
    type: "string",
    description: "project that pays for the requests, in a requester-pays bucket",
    placeholder: "PROJECT",
  },
  marker: markerOption("object"),
} as const satisfies OptionSpecs;

/** The options and the URL, checked and taken apart. */
export interface GcsSettings extends Omit<OptionValues<typeof gcsOptions>, "endpoint"> {
  readonly bucket: string;
  /** `undefined`: that of the credentials' universe. */
  readonly endpoint: URL | undefined;
}

/**
 * @param emulator `STORAGE_EMULATOR_HOST`, as Google's own libraries understand it: `host:port` or a URL, without signing in
 * @throws UsageError
 */
export function checkSettings(
  location: Location,
  options: OptionValues<typeof gcsOptions>,
  emulator: string | undefined,
): GcsSettings {
  const { host: bucket, username, password, port } = location;
  // https://cloud.google.com/storage/docs/buckets#naming
  if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(bucket)) {
    throw new UsageError(
      `"${bucket}" is not a valid bucket name`,
      "write gs://BUCKET/PREFIX/; bucket names are in lower case",
    );
  }
  if (port !== undefined) {
    throw new UsageError(
      "a gs:// URL has no port",
      "name the server in the option endpoint: gs://BUCKET/?endpoint=http://host:port",
    );
  }
  if (username !== undefined || password !== undefined) {
    throw new UsageError(
      "a gs:// URL has no user or password",
      "sign in with GOOGLE_APPLICATION_CREDENTIALS or credentials.tokenFile",
    );
  }
  const emulated = options.endpoint === undefined && Boolean(emulator);
  const endpoint = emulated
    ? parseEndpoint(
        emulator?.includes("://") === true ? emulator : `http://${emulator}`,
        "the variable STORAGE_EMULATOR_HOST",
      )
    : optionalEndpoint(options.endpoint, 'option "endpoint"');
  const anonymous = options.anonymous || emulated;
  if (endpoint !== undefined && !anonymous && isExposed(endpoint)) {
    throw new UsageError(
      "a token would be sent over plain http to the endpoint",
      "use https, or set anonymous=true for an emulator",
    );
  }
  return { ...options, bucket, endpoint, anonymous };
}
