/** Options in the URL's query, and what is made of them and of the URL. */
import {
  type Location,
  type OptionSpecs,
  type OptionValues,
  UsageError,
} from "@pannier/core/adapter";
import { markerOption, optionalEndpoint, type Root, rootOf } from "@pannier/object-store";

export const s3Options = {
  region: {
    type: "string",
    description:
      "region of the bucket; default: AWS_REGION, the profile's, or what the server says",
    placeholder: "REGION",
  },
  endpoint: {
    type: "string",
    description:
      "URL of a server other than AWS (MinIO, R2, Ceph); default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or the profile's",
    placeholder: "URL",
  },
  pathStyle: {
    type: "boolean",
    description: "bucket in the path instead of the host; default: true with an endpoint",
  },
  anonymous: {
    type: "boolean",
    default: false,
    description: "do not sign requests, for public buckets",
  },
  profile: {
    type: "string",
    description: "profile in ~/.aws/config and ~/.aws/credentials; default: AWS_PROFILE",
    placeholder: "NAME",
  },
  requesterPays: {
    type: "boolean",
    default: false,
    description: "pay for the requests, in a requester-pays bucket",
  },
  versions: {
    type: "boolean",
    default: false,
    description: "list version IDs and read by them, in a versioned bucket",
  },
  marker: markerOption("object"),
} as const satisfies OptionSpecs;

/** Where an endpoint comes from, for messages. */
export const ENDPOINT = "the endpoint (option endpoint, or AWS_ENDPOINT_URL_S3)";

/** The options and the URL, checked and taken apart. */
export interface S3Settings extends Omit<OptionValues<typeof s3Options>, "endpoint"> {
  /** A name, or the alias or ARN of an access point. */
  readonly bucket: string;
  readonly root: Root;
  readonly endpoint: URL | undefined;
}

/** @throws UsageError */
export function checkSettings(
  location: Location,
  options: OptionValues<typeof s3Options>,
): S3Settings {
  const { host: bucket, port, username, password } = location;
  if (port !== undefined) {
    throw new UsageError(
      "an s3:// URL has no port",
      "name the server in the option endpoint: s3://BUCKET/?endpoint=http://host:port",
    );
  }
  if ((username === undefined) !== (password === undefined)) {
    throw new UsageError(
      "an s3:// URL has either both an access key and its secret, or neither",
      "write s3://KEY:SECRET@BUCKET/, or better use the environment or a profile",
    );
  }
  // Old buckets of us-east-1 may have capitals and underscores, other stores still more.
  if (!isArn(bucket) && !/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket)) {
    throw new UsageError(`"${bucket}" is not a valid bucket name`, "write s3://BUCKET/PREFIX/");
  }
  const { profile, anonymous } = options;
  // An access point is where its ARN says.
  const region = options.region ?? /^arn:[^:]*:s3:([^:]+)/.exec(bucket)?.[1];
  if (anonymous && (username !== undefined || profile !== undefined)) {
    throw new UsageError("option anonymous goes with no key and no profile");
  }
  if (region !== undefined && !/^[A-Za-z0-9-]{1,64}$/.test(region)) {
    throw new UsageError('option "region" is not a valid region', "write one like eu-central-1");
  }
  const endpoint = optionalEndpoint(options.endpoint, ENDPOINT);
  return { ...options, bucket, root: rootOf(location), region, endpoint };
}

/** Whether it is an access point's, which locations have in no other form. */
export function isArn(bucket: string): boolean {
  return bucket.startsWith("arn:");
}
