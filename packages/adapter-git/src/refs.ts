/** From the name that a user writes to the commit that it means at the remote. */
import { nearest, SourceError } from "@pannier/core";
import { printable } from "./remote/pkt-line.ts";
import type { Remote } from "./remote/remote.ts";

/**
 * The object that a ref points at, annotated tags peeled. A branch wins over a tag of the same name, as in `git clone --branch`.
 *
 * @param ref a branch, a tag, a whole name (`refs/…`), or nothing for the remote's HEAD
 * @throws SourceError `not-found`, naming branches that may have been meant
 */
export async function resolveRef(
  remote: Remote,
  ref: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const names = candidates(ref);
  const refs = await remote.refs(names, signal);
  for (const name of names) {
    const found = refs.find((each) => each.name === name);
    if (found !== undefined) return found.peeled ?? found.oid;
  }
  throw await missing(remote, ref, signal);
}

function candidates(ref: string | undefined): string[] {
  if (ref === undefined || ref === "HEAD") return ["HEAD"];
  if (ref.startsWith("refs/")) return [ref];
  return [`refs/heads/${ref}`, `refs/tags/${ref}`];
}

async function missing(
  remote: Remote,
  ref: string | undefined,
  signal: AbortSignal,
): Promise<SourceError> {
  const refs = await remote.refs(["refs/heads/"], signal);
  const branches = refs
    .filter(({ name }) => name.startsWith("refs/heads/"))
    .map(({ name }) => printable(name.slice("refs/heads/".length)));
  if (branches.length === 0)
    return new SourceError("not-found", "the repository has no commits yet", {
      hint: "push a first commit",
    });
  const some = branches.slice(0, 5).join(", ");
  const all = `its branches: ${some}${branches.length > 5 ? ", …" : ""}`;
  if (ref === undefined || ref === "HEAD")
    return new SourceError(
      "not-found",
      "the repository's HEAD points at a branch that does not exist",
      { hint: `choose a branch by ref=; ${all}` },
    );
  const near = nearest(ref, branches);
  return new SourceError("not-found", `there is no branch or tag ${JSON.stringify(ref)}`, {
    hint: /^[0-9a-f]{6,39}$/.test(ref)
      ? "a commit has to be given by its whole SHA"
      : near === undefined
        ? all
        : `did you mean "${near}"?`,
  });
}
