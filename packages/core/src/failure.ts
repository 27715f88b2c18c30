/** From an error to what the user is told about it. */
import { classify, type ErrorCode } from "./errors.ts";

/** A failure in words for people, and with a code and an exit code for programs; as `--json` prints it. */
export interface Failure {
  readonly code: ErrorCode;
  /** See docs/operations.md. */
  readonly exitCode: number;
  readonly message: string;
  /** What the user can do about it: one sentence. */
  readonly hint?: string | undefined;
  /** The source that failed, redacted. */
  readonly source?: string | undefined;
}

/**
 * Tells what there is to know of anything that was thrown. What is neither an error of Pannier nor one of the system that has a
 * meaning here has the code `bug`.
 *
 * @param names how messages name settings: as the library has them, or the program's variables
 */
export function describeFailure(
  thrown: unknown,
  names: "settings" | "variables" = "settings",
): Failure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { hint, url } = error as { readonly hint?: string; readonly url?: string };
  const [code, exitCode] = classify(error);
  const named = names === "settings" ? (text: string) => text : inVariables;
  return {
    code,
    exitCode,
    message: named(error.message),
    hint: hint === undefined ? undefined : named(hint),
    source: error.name === "MountSourceError" ? url : undefined,
  };
}

/**
 * A failure in one line, without the name of the program.
 *
 * @param doing what was tried, as in `cannot sync`
 */
export function failureLine(failure: Failure, doing: string): string {
  const where = failure.source === undefined ? "" : `cannot ${doing} ${failure.source}: `;
  const { hint } = failure;
  const advice =
    hint === undefined || hint === "" ? "" : `. ${hint.charAt(0).toUpperCase()}${hint.slice(1)}`;
  return oneLine(`${where}${failure.message.replace(/\.$/, "")}${advice}`);
}

/** Names and messages of others may hold line breaks and escape sequences: neither belongs on a terminal. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/\s*[\r\n]+\s*/g, " ").replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
}

/** Credentials that the program takes from variables. */
const CREDENTIALS =
  /\bcredentials\.(username|password|passwordFile|tokenFile|sshKeyFile|sshKnownHostsFile|caFile|clientCertFile|clientKeyFile|cookieFile|askpassUrl)\b/g;

/** The library names its settings; whoever runs the program sets variables. */
export function inVariables(text: string): string {
  return text.replace(CREDENTIALS, (_, setting: string) => variableName(setting));
}

/** The program's variable for a setting: `passwordFile` is `PANNIER_PASSWORD_FILE`. */
export function variableName(setting: string): string {
  return `PANNIER_${setting.replace(/[A-Z]/g, "_$&").toUpperCase()}`;
}
