/** The smb adapter against Samba in a realm of Kerberos, and with links of DFS. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { until } from "./servers/process.ts";
import { getTickets } from "./servers/smb-realm.ts";
import { describeWith } from "./support.ts";

describeWith("smbRealm", "SMB in a realm", (server) => {
  const { by, host, root, user, krb5Config } = server;
  let share = "";

  beforeAll(async () => {
    share = await mkdtemp(join(root, "plain-"));
    await writeFile(join(share, "a"), "1");
    await mkdir(join(share, "sub"));
    await writeFile(join(share, "sub/b"), "22");
  });

  const urlOf = (directory = share, at = host) => `smb://${at}/files/${basename(directory)}/`;

  /** What it says beside that something is tried again. */
  async function program(source: string, target: string, env: Record<string, string>) {
    const { code, stderr } = await runPannier(["sync", source, target], {
      by,
      env: { KRB5_CONFIG: krb5Config, PANNIER_USERNAME: user, ...env },
    });
    const lines = stderr.trim().split("\n");
    return { code, said: lines.filter((line) => !line.includes(" is tried again in ")).join("\n") };
  }

  describe("Kerberos", () => {
    test("tickets are all that it takes, also where all is signed or encrypted, and whatever the user's name", async () => {
      const KRB5CCNAME = await tickets();
      const runs: readonly (readonly [options: string, env: Record<string, string>])[] = [
        ["", { KRB5CCNAME }],
        ["", { KRB5CCNAME: `FILE:${KRB5CCNAME}` }],
        ["?sign=required", { KRB5CCNAME }],
        ["?encrypt=required", { KRB5CCNAME }],
        ["?domain=ELSEWHERE", { KRB5CCNAME, PANNIER_USERNAME: "whoever" }],
      ];
      for (const [options, env] of runs) {
        const target = await scratch("target");
        const { code, said } = await program(urlOf() + options, target, env);
        expect(code, said).toBe(0);
        expect(await readFile(join(target, "current/sub/b"), "utf8")).toBe("22");
      }
    });

    test("tickets that have expired are refused, until there are new ones", async () => {
      const cache = await tickets(1);
      const target = await scratch("target");
      const run = () => program(urlOf(), target, { KRB5CCNAME: cache });
      let last = await run();
      await until("the end of the ticket", async () => (last = await run()).code !== 0);
      expect(last.said).toMatch(/Kerberos.* Check that klist shows valid tickets, /);
      expect(last.code).toBe(3);
      getTickets(server, cache);
      expect((await run()).code).toBe(0);
    });

    type Case = readonly [
      url: () => string,
      env: () => Promise<Record<string, string>>,
      words: RegExp,
      exit?: number,
    ];
    const cases: Readonly<Record<string, Case>> = {
      "tickets that are not there": [
        urlOf,
        async () => ({ KRB5CCNAME: "FILE:/nonexistent/tickets" }),
        /no tickets at \/nonexistent\/tickets\. Get some with kinit/,
      ],
      "a cache that is none": [
        urlOf,
        async () => ({ KRB5CCNAME: await scratch("tickets", "no tickets") }),
        /Kerberos has no ticket for the server\. Check that klist/,
      ],
      "a host that the realm does not know": [
        () => urlOf(share, server.strangeHost),
        withTickets,
        /Kerberos has no ticket for the server\. .* its principal does \(cifs\/HOST\)/,
      ],
      "a host that nobody knows": [
        () => urlOf(share, "nowhere.invalid"),
        withTickets,
        /host name (is not known|cannot be)/,
        5,
      ],
      "an address": [() => urlOf(share, "127.0.0.1"), withTickets, /by their names only\. Write/],
      localhost: [() => urlOf(share, "localhost"), withTickets, /by their names only\. Write/],
      "a share for others": [() => `smb://${host}/closed/`, withTickets, /or not into the share\./],
      "neither tickets nor a password": [
        urlOf,
        async () => ({ PANNIER_PASSWORD: "" }),
        /did not let us sign in.* Check the user, the password/,
      ],
    };
    test.each(Object.keys(cases))("what is wrong is told in one line: %s", async (name) => {
      const [url, env, words, exit = 3] = cases[name] as Case;
      const { code, said } = await program(url(), await scratch("target"), await env());
      expect(said).toMatch(words);
      expect(said).not.toContain("\n");
      expect(code).toBe(exit);
    });

    test("a password is used though there are tickets", async () => {
      const KRB5CCNAME = await tickets();
      const target = await scratch("target");
      const right = { KRB5CCNAME, PANNIER_PASSWORD: server.password };
      expect((await program(urlOf(), target, right)).code).toBe(0);
      expect(
        (await program(urlOf(), target, { ...right, PANNIER_PASSWORD: "incorrect" })).code,
      ).toBe(3);
    });
  });

  describe("links of DFS", () => {
    const content = randomBytes(3 << 20);
    /** What links lead to, on another server. */
    let linked = "";

    beforeAll(async () => {
      linked = await mkdtemp(join(server.linkedRoot, "linked-"));
      await mkdir(join(linked, "sub"));
      await writeFile(join(linked, "large"), content);
      await writeFile(join(linked, "sub/small"), "small");
    });

    const whole = () => `${server.linkedHost}/files/${basename(linked)}`;
    const byPassword = { PANNIER_PASSWORD: server.password };

    test.each(["a password", "tickets"])("are followed, signed in to by %s", async (what) => {
      const env = what === "tickets" ? await withTickets() : byPassword;
      const directory = await withLink(whole());
      for (const url of [urlOf(directory), `${urlOf(directory)}sub/link/`]) {
        const target = await scratch("target");
        const { code, said } = await program(url, target, env);
        expect(code, said).toBe(0);
        const at = join(target, "current", url.endsWith("link/") ? "" : "sub/link");
        expect((await readFile(join(at, "large"))).equals(content)).toBe(true);
        expect(await readFile(join(at, "sub/small"), "utf8")).toBe("small");
      }
    });

    test("where all must be encrypted, lead to servers that encrypt, and to no others", async () => {
      const must = "?encrypt=required";
      const directory = await withLink(`${server.strangeHost}/files/${basename(share)}`);
      const target = await scratch("target");
      const first = await program(urlOf(directory) + must, target, byPassword);
      expect(first.code, first.said).toBe(0);
      expect(await readFile(join(target, "current/sub/link/a"), "utf8")).toBe("1");
      await relink(directory, whole());
      const second = await program(urlOf(directory) + must, target, byPassword);
      expect(second.said).toMatch(/lists "sub\/link\/", and says that it does not exist/);
      expect(second.code).toBe(5);
    });

    test("that lead nowhere are errors, and nothing is deleted", async () => {
      const directory = await withLink(whole());
      const target = await scratch("target");
      expect((await program(urlOf(directory), target, byPassword)).code).toBe(0);
      for (const [to, words] of [
        ["127.0.0.3/files", /the connection broke at "sub\/link\/" \(/],
        [`${server.linkedHost}/nope`, /lists "sub\/link\/", and says that it does not exist/],
        [`${server.linkedHost}/closed`, /lists "sub\/link\/", and says that it does not exist/],
      ] as const) {
        await relink(directory, to);
        const { code, said } = await program(urlOf(directory), target, byPassword);
        expect(said).toMatch(words);
        expect(code).toBe(5);
        expect(await readFile(join(target, "current/sub/link/sub/small"), "utf8")).toBe("small");
      }
    });
  });

  /** A directory with one file, and a directory that has a link. */
  async function withLink(to: string): Promise<string> {
    const directory = await mkdtemp(join(root, "links-"));
    await writeFile(join(directory, "a"), "1");
    await mkdir(join(directory, "sub"));
    await relink(directory, to);
    return directory;
  }

  async function withTickets(): Promise<Record<string, string>> {
    return { KRB5CCNAME: await tickets() };
  }

  async function tickets(seconds?: number): Promise<string> {
    const cache = await scratch("tickets");
    getTickets(server, cache, seconds);
    return cache;
  }
});

async function relink(directory: string, to: string): Promise<void> {
  await rm(join(directory, "sub/link"), { force: true });
  await symlink(`msdfs:${to.replaceAll("/", "\\")}`, join(directory, "sub/link"));
}

/** A path of the test's own, with a file at it where there is content. */
async function scratch(name: string, content?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-smb-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  if (content !== undefined) await writeFile(join(dir, name), content);
  return join(dir, name);
}
