import type { CheckedSignature } from "@pannier/core/adapter";

/** A check of content that is passed through it, chunk by chunk. */
export interface FileCheck {
  update(chunk: Uint8Array): void;
  /** Once, at the end. Where the signature is not good, why. */
  finish(): CheckedSignature | string;
}
