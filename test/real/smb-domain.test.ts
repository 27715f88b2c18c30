/** The smb adapter against a member of an Active Directory, both from Samba. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { type SmbDomain, startSmbDomain } from "./servers/smb-domain.ts";
import { describeWith } from "./support.ts";

describeWith("smbDomain", "SMB in an Active Directory", (place) => {
  let server: SmbDomain;

  beforeAll(async () => {
    server = await startSmbDomain(place);
    await writeFile(join(server.root, "a"), "1");
  });
  afterAll(() => server?.stop());

  async function program(options: string, env: Record<string, string>) {
    const { by, host, user, krb5Config } = server;
    const target = await scratch("target");
    const { code, stderr } = await runPannier(["sync", `smb://${host}/files/${options}`, target], {
      by,
      env: { KRB5_CONFIG: krb5Config, PANNIER_USERNAME: user, ...env },
    });
    const content = await readFile(join(target, "current/a"), "utf8").catch(() => undefined);
    return { code, said: stderr.trim(), content };
  }

  test("a user signs in by password with the domain's name, short or long", async () => {
    const { domain, realm, user, password: PANNIER_PASSWORD } = server;
    const names: readonly (readonly [user: string, options: string])[] = [
      [user, `?domain=${domain}`],
      [user, `?domain=${realm}&encrypt=required`],
      [`${domain}\\${user}`, ""],
      [`${user}@${realm}`, ""],
    ];
    for (const [PANNIER_USERNAME, options] of names) {
      const { said, content } = await program(options, { PANNIER_USERNAME, PANNIER_PASSWORD });
      expect(content, `${PANNIER_USERNAME} ${options}: ${said}`).toBe("1");
    }
  });

  test.each(["", "?domain=ELSEWHERE", "?domain=MEMBER"])(
    "in no domain, or a wrong one, the user is refused, and told to check the domain: %s",
    async (options) => {
      const { code, said } = await program(options, { PANNIER_PASSWORD: server.password });
      expect(said).toMatch(/did not let us sign in.* Check the user, .* and the option domain/);
      expect(said).not.toContain("\n");
      expect(code).toBe(3);
    },
  );

  test("tickets of the domain are all that it takes", async () => {
    const KRB5CCNAME = await scratch("tickets");
    await server.getTickets(KRB5CCNAME);
    for (const options of ["", "?encrypt=required"]) {
      const { said, content } = await program(options, { KRB5CCNAME });
      expect(content, said).toBe("1");
    }
  });
});

/** A path of the test's own. */
async function scratch(name: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-smb-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return join(dir, name);
}
