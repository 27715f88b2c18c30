/** From the name that a user writes to the commit that it means at the remote. */
import { nearest, SourceError } from "@pannier/core/adapter";
import { printable } from "./remote/pkt-line.ts";
import type { Remote } from "./remote/remote.ts";

/** What a name means at the remote. */
export interface Resolved {
  readonly commit: string;
  /** The annotated tag that it was found by. */
  readonly tag: NamedTag | undefined;
}

export interface NamedTag {
  /** Without `refs/tags/`. */
  readonly name: string;
  /** Of the tag itself. */
  readonly oid: string;
}

/**
 * The object that a ref points at, annotated tags peeled. A tag wins over a branch of the same name, as in git's own commands.
 *
 * @param ref a branch, a tag, a name as git takes it (`tags/…`, `refs/…`), or nothing for the remote's HEAD
 * @param ambiguous told where the name has two meanings, and which was taken
 * @throws SourceError `not-found`, naming branches that may have been meant
 */
export async function resolveRef(
  remote: Remote,
  ref: string | undefined,
  signal: AbortSignal,
  ambiguous: (message: string) => void,
): Promise<Resolved> {
  const names = candidates(ref);
  const refs = await remote.refs(names, signal);
  const found = names.flatMap((name) => refs.find((each) => each.name === name) ?? []);
  const [first, second] = found;
  if (first === undefined) throw await missing(remote, ref, signal);
  if (second !== undefined)
    ambiguous(`${first.name} is taken; write ref=${second.name} for the other`);
  const { oid, peeled } = first;
  if (peeled === undefined) return { commit: oid, tag: undefined };
  return { commit: peeled, tag: { oid, name: first.name.replace(/^refs\/tags\//, "") } };
}

/** The rules of gitrevisions(7), in their order. */
function candidates(ref: string | undefined): string[] {
  if (ref === undefined || ref === "HEAD") return ["HEAD"];
  if (ref.startsWith("refs/")) return [ref];
  return ["", "tags/", "heads/", "remotes/"].map((place) => `refs/${place}${ref}`);
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
