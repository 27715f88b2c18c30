import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

export interface ApacheServer {
  /** Index pages of `root` as a list, as preformatted text, and as a table. */
  readonly plain: string;
  readonly fancy: string;
  readonly table: string;
  readonly root: string;
}

export async function startApache(
  { base, children }: Ground,
  program: string,
): Promise<ApacheServer> {
  const dir = join(base, "apache");
  const root = join(base, "apache-www");
  await mkdir(dir);
  await mkdir(root);
  const { child, ports } = await listening("apache2", 1, async ([port]) => {
    const config = apacheConfig({ dir, root, port: port as number, isRoot: userInfo().uid === 0 });
    await writeFile(join(dir, "apache.conf"), config);
    return run(program, ["-D", "FOREGROUND", "-d", dir, "-f", join(dir, "apache.conf")]);
  });
  children.push(child);
  const url = `http://127.0.0.1:${ports[0]}`;
  return { plain: `${url}/plain`, fancy: `${url}/fancy`, table: `${url}/table`, root };
}

interface ApacheSettings {
  readonly dir: string;
  readonly root: string;
  readonly port: number;
  readonly isRoot: boolean;
}

function apacheConfig({ dir, root, port, isRoot }: ApacheSettings): string {
  const modules = ["mpm_event", "authz_core", "autoindex", "alias", "dir", "mime"];
  return `
ServerRoot ${dir}
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
PidFile ${dir}/apache.pid
Mutex file:${dir} default
ErrorLog ${dir}/error.log
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join("\n")}
${isRoot ? "User www-data\nGroup www-data" : ""}
TypesConfig /dev/null
DocumentRoot ${root}
Alias /plain/ ${root}/
Alias /fancy/ ${root}/
Alias /table/ ${root}/
<Directory ${root}>
  Options Indexes FollowSymLinks
  Require all granted
</Directory>
<Location /plain/>
  IndexOptions -FancyIndexing
</Location>
<Location /fancy/>
  IndexOptions FancyIndexing
</Location>
<Location /table/>
  IndexOptions FancyIndexing HTMLTable NameWidth=*
</Location>
`;
}
