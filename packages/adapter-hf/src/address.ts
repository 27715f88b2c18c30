/** A `hf://` URL taken apart: https://huggingface.co/docs/huggingface_hub/guides/hf_file_system#uri-format. */
import { type Location, UsageError } from "@pannier/core/adapter";

export interface Address {
  readonly kind: "models" | "datasets" | "spaces";
  /** `org/name`. */
  readonly repository: string;
  /** A branch, a tag, a pull request (`refs/pr/1`) or a commit. */
  readonly revision: string;
  /** Of a directory or a file; empty for the whole repository. */
  readonly path: string;
}

const FORM = "write hf://ORG/MODEL@REVISION/PATH, or hf://datasets/ORG/NAME@REVISION/PATH";
/** What the Hub allows in the name of an account and in that of a repository. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?$/;

/** @throws UsageError */
export function parseAddress(location: Location): Address {
  const { host, port, username, password, pathname } = location;
  if (username !== undefined || password !== undefined) {
    throw new UsageError(
      "an hf:// URL has no user or password",
      "give the token in HF_TOKEN, or in a file with PANNIER_TOKEN_FILE",
    );
  }
  if (port !== undefined) {
    throw new UsageError("an hf:// URL has no port", "name another Hub in the option endpoint");
  }
  const segments = pathname.split("/").slice(1).map(decode);
  if (segments.at(-1) === "") segments.pop();
  if (host === "buckets") {
    throw new UsageError("buckets of the Hub are not supported", "use a model, dataset or Space");
  }
  const isTyped = host === "datasets" || host === "spaces";
  const kind = isTyped ? host : "models";
  const organization = isTyped ? (segments.shift() ?? "") : host;
  const [name = "", ...more] = (segments.shift() ?? "").split("@");
  const revision = more.length === 0 ? "main" : more.join("@");
  if (!NAME.test(organization) || !NAME.test(name)) {
    throw new UsageError(`"${organization}/${name}" is not a valid repository name`, FORM);
  }
  if (revision === "" || revision.split("/").some((part) => /^\.*$/.test(part))) {
    throw new UsageError(`"${revision}" is not a valid revision`, FORM);
  }
  if (segments.some((segment) => /^\.{0,2}$|[/\0]/.test(segment))) {
    throw new UsageError("the path in the URL has an invalid segment", FORM);
  }
  return { kind, repository: `${organization}/${name}`, revision, path: segments.join("/") };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new UsageError("the path in the URL is not UTF-8");
  }
}
