import { InternalError } from "@pannier/core";

/** An error that `--json` has told of already: its `cause`. */
export class ReportedError extends InternalError {
  constructor(cause: unknown) {
    super("reported", { cause });
  }
}
