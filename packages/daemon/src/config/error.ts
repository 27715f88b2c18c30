import { UsageError } from "@pannier/core";

/** A configuration with mistakes: all of them, each with its place. */
export class ConfigError extends UsageError {
  readonly problems: readonly string[];

  /** @param file where they are, if in a file */
  constructor(problems: readonly string[], file?: string, options?: ErrorOptions) {
    super(`${file === undefined ? "" : `${file}: `}${problems.join("; ")}`, undefined, options);
    this.problems = problems;
  }
}
