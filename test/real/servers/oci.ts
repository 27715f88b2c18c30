/** Registries: the distribution project's, and crane's, which heeds less. */
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

export interface OciRegistry {
  readonly port: number;
  /** One that asks for user and password; only of the distribution project's. */
  readonly locked?:
    | { readonly port: number; readonly user: string; readonly password: string }
    | undefined;
}

const USER = "user";
const PASSWORD = "pass word%";
/** Of that password, by bcrypt, with the least work that there is. */
const HASH = "$2y$04$mK2028T9fv8mOY3I5//uCuF1hfYFDStFXsECOYDr4ICfv7ruTr1Re";

export async function startDistribution(ground: Ground, program: string): Promise<OciRegistry> {
  const root = await mkdtemp(join(ground.base, "distribution-"));
  await writeFile(join(root, "htpasswd"), `${USER}:${HASH}\n`);
  const start = async (name: string, auth: string) => {
    await mkdir(join(root, name));
    const { child, ports } = await listening("registry", 1, async ([port]) => {
      const config = join(root, `${name}.yml`);
      await writeFile(
        config,
        `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${join(root, name)} }, delete: { enabled: true } }
http: { addr: "127.0.0.1:${port}" }
${auth}`,
      );
      return run(program, ["serve", config], {
        quiet: true,
        env: { OTEL_TRACES_EXPORTER: "none" },
      });
    });
    ground.children.push(child);
    return ports[0] as number;
  };
  const port = await start("open", "");
  const auth = `auth: { htpasswd: { realm: here, path: ${join(root, "htpasswd")} } }\n`;
  return { port, locked: { port: await start("locked", auth), user: USER, password: PASSWORD } };
}

export async function startCraneRegistry(ground: Ground, program: string): Promise<OciRegistry> {
  const { child, ports } = await listening("crane", 1, async ([port]) =>
    run(program, ["registry", "serve", "--address", `127.0.0.1:${port}`], { quiet: true }),
  );
  ground.children.push(child);
  return { port: ports[0] as number };
}
