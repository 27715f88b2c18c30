import { type Adapter, type Location, UsageError } from "@pannier/core/adapter";
import { checkGit } from "./engine.ts";
import { checkPath, checkRef, fullSha, type GitOptions, gitOptions } from "./options.ts";
import { isRepositoryAt, transportOf } from "./remotes.ts";
import { GIT_SIGNATURES } from "./signature/check.ts";
import { openSource } from "./source.ts";

export const gitAdapter: Adapter<typeof gitOptions> = {
  name: "git",
  package: "@pannier/adapter-git",
  schemes: ["git+https", "git+http", "git+ssh", "git+file"],
  claims: ({ scheme, pathname }) => /^https?$/.test(scheme) && /\.git\/?$/.test(pathname),
  suspects: isSuspect,
  recognise: (location, context, signal) => isRepositoryAt(location, context, signal),
  options: gitOptions,
  signatures: GIT_SIGNATURES,
  description: "a git repository over HTTP, HTTPS or SSH, or on this machine",

  async open(location, options, context) {
    const sha = fullSha(options.ref);
    if (options.ref !== undefined && sha === undefined) checkRef(options.ref);
    const path = checkPath(options.path);
    const engine = await chooseEngine(location, options);
    if (options.lfs && engine === "js")
      throw new UsageError("lfs=true needs the git program", "install git, or set engine=cli");
    if (options.lfs && transportOf(location) !== "http")
      throw new UsageError("lfs=true works over http and https", "use the repository's https URL");
    return openSource({ location, context, options, path, sha, engine });
  },
};

/** Names of files that people fetch by their URL. A repository may have any other: `next.js`, `d3.v7`. */
const FILE_ENDINGS = new Set(
  (
    "7z apk avif bin br bz2 cer conf crt css csv db deb der dmg doc docx eot epub exe geojson gguf gif gz htm html ico img ini iso " +
    "jar jpeg jpg json jsonl key lock log map md mmdb mov mp3 mp4 msi ndjson npy npz odt ogg onnx otf parquet pbf pdf pem php png " +
    "pptx rar rpm rss safetensors sh sha1 sha256 sha512 sig sqlite svg tar tbz tbz2 tgz tif tiff toml tsv ttf txt txz tzst war wasm " +
    "wav webm webp whl woff woff2 xhtml xlsx xml xsd xz yaml yml zip zst"
  ).split(" "),
);

/** Web servers have repositories at URLs that look like a directory's or a file's; with an option of ours it may be any. */
function isSuspect({ scheme, pathname, query }: Location): boolean {
  if (!/^https?$/.test(scheme)) return false;
  const names = Object.keys(query);
  // Whatever else is in the query is for another program.
  if (names.some((name) => !Object.hasOwn(gitOptions, name))) return false;
  if (names.some((name) => name !== "path")) return true;
  const ending = /\.([a-z0-9]{1,11})$/i.exec(pathname)?.[1]?.toLowerCase() ?? "";
  return !/^\/*$/.test(pathname) && !FILE_ENDINGS.has(ending);
}

/** Which engine reads objects. */
async function chooseEngine(location: Location, { engine }: GitOptions): Promise<"js" | "cli"> {
  const transport = transportOf(location);
  if (engine === "js" && transport === "ssh")
    throw new UsageError("engine=js has no ssh", "use engine=cli, or the repository's https URL");
  // Reaching a repository on this machine takes the git program, whoever reads the objects.
  const problem = engine === "js" && transport === "http" ? undefined : await checkGit();
  if (problem !== undefined && (engine === "cli" || transport !== "http"))
    throw new UsageError(
      `${problem}, which ${engine === "cli" ? "engine=cli" : `a git+${transport} source`} needs`,
      engine === "cli" && transport === "http" ? "install git, or use engine=js" : "install git",
    );
  return engine === "js" || problem !== undefined ? "js" : "cli";
}
