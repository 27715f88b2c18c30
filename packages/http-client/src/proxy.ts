/** Which proxy a request goes through, by the variables that curl and everything after it read. */
import { BlockList, isIP } from "node:net";
import { UsageError } from "@pannier/core/adapter";

/** Environment variables, handed in: this package reads none by itself. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL: `http_proxy` or `https_proxy` by the URL's scheme, else `all_proxy`, each in either case (lower
 * case wins), unless `no_proxy` names the host. `undefined`: connect directly.
 *
 * @throws UsageError when the variable holds no URL of an HTTP proxy
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const name = `${url.protocol.slice(0, -1)}_proxy`;
  const value = read(env, name) ?? read(env, "all_proxy");
  if (value === undefined || isExempt(url, read(env, "no_proxy") ?? "")) return undefined;
  const proxy = URL.parse(value.includes("://") ? value : `http://${value}`);
  if (proxy !== null && (proxy.protocol === "http:" || proxy.protocol === "https:")) return proxy;
  // The value may hold a password: it is not shown.
  throw new UsageError(
    `the variable ${name} (or all_proxy) does not hold the URL of an HTTP proxy`,
    "write http://host:port",
  );
}

function read(env: Environment, name: string): string | undefined {
  // Set but empty means: none.
  return (env[name] ?? env[name.toUpperCase()]) || undefined;
}

/** `no_proxy`: hosts with or without a leading dot, `host:port`, addresses, CIDR ranges, or `*`; separated by commas or blanks. */
function isExempt(url: URL, list: string): boolean {
  const host = bare(url.hostname);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return list
    .split(/[,\s]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      const parts = /^(\[.+\]|[^:]+):(\d+)$/.exec(entry);
      if (parts !== null && parts[2] !== port) return false;
      const name = bare(parts?.[1] ?? entry);
      if (name === "*") return true;
      if (name.includes("/")) return inRange(host, name);
      const domain = name.replace(/^\*?\./, "");
      return host.endsWith(`.${domain}`) || (host === domain && !name.startsWith("*."));
    });
}

function bare(host: string): string {
  return host
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "")
    .toLowerCase();
}

function inRange(host: string, range: string): boolean {
  const [network = "", bits = ""] = range.split("/");
  const family = isIP(network) === 6 ? "ipv6" : "ipv4";
  if (isIP(host) === 0 || isIP(host) !== isIP(network) || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === "ipv6" ? 128 : 32)) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family);
  return list.check(host, family);
}
