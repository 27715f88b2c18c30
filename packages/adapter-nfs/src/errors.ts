/** What libnfs says, in the words of the contract. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { tooManyNames } from "@pannier/file-server";
import type { Problem } from "./protocol.ts";

const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const ENOTDIR = 20;
const EISDIR = 21;
const ELOOP = 40;

/** @param path relative to the source's root; empty for the root itself */
export function translate(problem: Problem, path: string): SourceError {
  const { step, errno, text, privileged } = problem;
  const cause = text === "" ? undefined : new Error(text);
  const what = path === "" ? "the source's path" : quotePath(path);
  if (step === "library") {
    return new SourceError("unsupported", "NFS needs the library libnfs, which cannot be loaded", {
      hint: "install the package libnfs13 (Debian 12), libnfs14 (Debian 13) or libnfs (Alpine, where that is libnfs 4 or 5), or mount the export and use its directory as the source",
      cause,
    });
  }
  if (step === "koffi") {
    return new SourceError(
      "unsupported",
      "the npm package koffi, which nfs sources need, is missing, or not for this machine",
      { hint: "install koffi together with its optional dependencies", cause },
    );
  }
  if (step === "full") return tooManyNames(path);
  if (step === "untold") {
    const why = `the server does not tell what something in ${quotePath(path || "/")} is`;
    return new SourceError("invalid", why);
  }
  if (step === "replaced") {
    const why = `something in ${quotePath(path || "/")} was replaced while it was listed`;
    return new SourceError("changed", why);
  }
  if (step === "silent") {
    return new SourceError("unavailable", "the server stopped answering", { cause });
  }
  if (step === "connection") {
    // So libnfs tells a mount that was refused as a call (RFC 5531: MSG_DENIED), as Ganesha does, and one that broke.
    const mayBeRefused = text.startsWith("mount_cb") && privileged !== true;
    return new SourceError("unavailable", "the connection to the server broke", {
      hint: mayBeRefused ? `the export may want ports below 1024: ${LOW_PORTS}` : undefined,
      cause,
    });
  }
  if (errno === EACCES || errno === EPERM) {
    return new SourceError(
      "auth",
      step === "mount" ? "the server refused the export" : `no permission to read ${what}`,
      {
        reached: step === "mount" ? "answered" : "signed-in",
        hint: permissionHint(problem, path),
        cause,
      },
    );
  }
  if (errno === ENOENT) {
    return new SourceError("not-found", `${what} does not exist`, {
      hint: missingHint(problem, path),
      cause,
    });
  }
  if (errno === ENOTDIR || errno === EISDIR || errno === ELOOP) {
    return new SourceError("changed", `${what} was replaced`, { cause });
  }
  const name = /NFS[34]ERR_\w+|MNT3ERR_\w+/.exec(text)?.[0];
  return new SourceError(
    "unavailable",
    `${what} cannot be read now${name === undefined ? "" : ` (${name})`}`,
    { cause },
  );
}

function permissionHint({ step, privileged }: Problem, path: string): string {
  const ids = "give the uid and gid of a user who may read it (?uid=…&gid=…)";
  if (path !== "" && step !== "mount") return ids;
  const ports = privileged === true ? "" : `, also from ports above 1023: ${LOW_PORTS}`;
  return `let the export be read from this host${ports}; or ${ids}`;
}

function missingHint({ privileged }: Problem, path: string): string {
  const check =
    "check the path in the URL: it begins with the export's own, as showmount -e HOST lists it";
  // Ganesha hides such exports from version 4.
  return path === "" && privileged !== true
    ? `${check}; an export may also be hidden because it wants ports below 1024: ${LOW_PORTS}`
    : check;
}

/** What to do about exports that want them. */
const LOW_PORTS =
  "those only root has, so give it the option insecure (Linux) or PrivilegedPort = false (Ganesha)";
