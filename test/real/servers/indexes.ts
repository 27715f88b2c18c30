/** Servers that show their directories, each in its own way. */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nginxAround, runNginx } from "./nginx.ts";
import { type Ground, listening, run, TOOLS } from "./process.ts";

/** A server of one directory. */
export interface IndexServer {
  /** Of {@link root}, with a `/` at the end. */
  readonly url: string;
  readonly root: string;
}

interface Place {
  /** For what the server needs for itself. */
  readonly home: string;
  readonly root: string;
  readonly port: number;
}

interface Command {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a server of a new directory on a free port. @param below where the server wants its files */
async function serve(
  { base, children }: Ground,
  name: string,
  program: string,
  below: string,
  command: (place: Place) => Promise<Command> | Command,
): Promise<IndexServer> {
  const home = join(base, name);
  const root = join(home, below);
  await mkdir(root, { recursive: true });
  const { child, ports } = await listening(name, 1, async ([port]) => {
    const { args, env } = await command({ home, root, port: port as number });
    return run(program, args, { quiet: true, env: { HOME: home, ...env } });
  });
  children.push(child);
  return { url: `http://127.0.0.1:${ports[0]}/`, root };
}

export function startPython(ground: Ground, program: string): Promise<IndexServer> {
  return serve(ground, "python", program, "www", ({ root, port }) => ({
    args: ["-m", "http.server", String(port), "-b", "127.0.0.1", "-d", root],
  }));
}

export function startCaddy(ground: Ground, program: string): Promise<IndexServer> {
  return serve(ground, "caddy", program, "www", ({ root, port }) => ({
    args: ["file-server", "--browse", "--listen", `127.0.0.1:${port}`, "--root", root],
  }));
}

export function startRcloneHttp(ground: Ground, program: string): Promise<IndexServer> {
  return serve(ground, "rclone-http", program, "www", ({ root, port }) => ({
    args: [
      "serve",
      "http",
      root,
      "--addr",
      `127.0.0.1:${port}`,
      "--config",
      "/dev/null",
      "--dir-cache-time",
      "0s",
      "--no-unicode-normalization",
    ],
  }));
}

export function startLighttpd(ground: Ground, program: string): Promise<IndexServer> {
  return serve(ground, "lighttpd", program, "www", async ({ home, root, port }) => {
    const file = join(home, "lighttpd.conf");
    await writeFile(
      file,
      `
server.document-root = "${root}"
server.bind = "127.0.0.1"
server.port = ${port}
server.modules = ("mod_dirlisting")
dir-listing.activate = "enable"
dir-listing.encoding = "utf-8"
`,
    );
    return { args: ["-D", "-f", file] };
  });
}

/** What its README shows. */
const SERVE_INDEX = `
const [http, finalhandler, serveIndex, serveStatic] =
  ["http", "finalhandler", "serve-index", "serve-static"].map((name) => require(name));
const [, root, port] = process.argv;
const index = serveIndex(root, { icons: true, hidden: true });
const files = serveStatic(root, { dotfiles: "allow" });
http.createServer((request, response) => {
  const done = finalhandler(request, response);
  files(request, response, (error) => (error ? done(error) : index(request, response, done)));
}).listen(Number(port), "127.0.0.1");
`;

/** Of npm; users of express have it. */
export function startServeIndex(ground: Ground): Promise<IndexServer> {
  return serve(ground, "serve-index", process.execPath, "www", ({ root, port }) => ({
    args: ["-e", SERVE_INDEX, root, String(port)],
    env: { NODE_PATH: join(TOOLS, "node_modules") },
  }));
}

export async function missingServeIndex(): Promise<string | undefined> {
  return existsSync(join(TOOLS, "node_modules/serve-index"))
    ? undefined
    : "serve-index not installed: test/real/run installs what is missing";
}

export function startHttpServer(ground: Ground, program: string): Promise<IndexServer> {
  return serve(ground, "http-server", program, "www", ({ root, port }) => ({
    args: [root, "-a", "127.0.0.1", "-p", String(port), "-s"],
  }));
}

const JETTY = "/usr/share/jetty9";

export async function missingJetty(): Promise<string | undefined> {
  return existsSync(`${JETTY}/start.jar`)
    ? undefined
    : "jetty9 not installed: test/real/run installs what is missing";
}

export function startJetty(ground: Ground, java: string): Promise<IndexServer> {
  return serve(ground, "jetty", java, "webapps/root", ({ home, port }) => ({
    args: [
      "-jar",
      `${JETTY}/start.jar`,
      `jetty.home=${JETTY}`,
      `jetty.base=${home}`,
      "--module=http,deploy",
      "jetty.http.host=127.0.0.1",
      `jetty.http.port=${port}`,
    ],
  }));
}

const TOMCAT = "/usr/share/tomcat10";

export async function missingTomcat(): Promise<string | undefined> {
  return existsSync(`${TOMCAT}/bin/bootstrap.jar`)
    ? undefined
    : "tomcat10 not installed: test/real/run installs what is missing";
}

export function startTomcat(ground: Ground, java: string): Promise<IndexServer> {
  return serve(ground, "tomcat", java, "webapps/ROOT", async ({ home, port }) => {
    for (const folder of ["conf", "logs", "temp"]) {
      await mkdir(join(home, folder), { recursive: true });
    }
    await writeFile(
      join(home, "conf/server.xml"),
      `<Server port="-1"><Service name="Catalina">
        <Connector port="${port}" address="127.0.0.1" protocol="HTTP/1.1" />
        <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps" /></Engine>
      </Service></Server>`,
    );
    await writeFile(
      join(home, "conf/web.xml"),
      `<web-app version="6.0">
        <servlet><servlet-name>default</servlet-name>
          <servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class>
          <init-param><param-name>listings</param-name><param-value>true</param-value></init-param>
        </servlet>
        <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
      </web-app>`,
    );
    return {
      args: [
        "-cp",
        `${TOMCAT}/bin/bootstrap.jar:${TOMCAT}/bin/tomcat-juli.jar`,
        `-Dcatalina.home=${TOMCAT}`,
        `-Dcatalina.base=${home}`,
        `-Djava.io.tmpdir=${home}/temp`,
        "org.apache.catalina.startup.Bootstrap",
        "start",
      ],
    };
  });
}

/** nginx with its module for finer pages. */
export async function startFancyIndex(ground: Ground, program: string): Promise<IndexServer> {
  const home = join(ground.base, "fancyindex");
  const root = join(home, "www");
  await mkdir(root, { recursive: true });
  const [port] = await runNginx(
    ground,
    program,
    home,
    1,
    ([free]) =>
      `load_module ${FANCYINDEX};
      ${nginxAround(
        home,
        `server { listen 127.0.0.1:${free}; root ${root};
          fancyindex on; fancyindex_exact_size off; fancyindex_show_dotfiles on; }`,
      )}`,
  );
  return { url: `http://127.0.0.1:${port}/`, root };
}

const FANCYINDEX = "/usr/lib/nginx/modules/ngx_http_fancyindex_module.so";
