/** The servers themselves do what the other tests here take for granted. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { cannotServeS3 } from "./servers/s3.ts";
import { describeWith } from "./support.ts";

const run = promisify(execFile);

describeWith("nginx", "nginx", (nginx) => {
  const auth = `Basic ${Buffer.from(`${nginx.username}:${nginx.password}`).toString("base64")}`;

  test("lists in HTML and JSON, serves ranges or refuses to, and asks for a password", async () => {
    await mkdir(join(nginx.root, "self"));
    await writeFile(join(nginx.root, "self/a.txt"), "0123456789");
    const get = (path: string, headers = {}) => fetch(`${nginx.http}${path}`, { headers });

    expect(await (await get("/html/self/")).text()).toContain('<a href="a.txt">');
    expect(await (await get("/json/self/")).json()).toMatchObject([{ name: "a.txt", size: 10 }]);
    const part = await get("/files/self/a.txt", { range: "bytes=2-4" });
    expect([part.status, await part.text()]).toEqual([206, "234"]);
    expect((await get("/norange/self/a.txt", { range: "bytes=2-4" })).status).toBe(200);
    expect((await get("/private/self/a.txt")).status).toBe(401);
    expect((await get("/private/self/a.txt", { authorization: auth })).status).toBe(200);
  });
});

describeWith("apache", "Apache", (apache) => {
  test("lists plainly and fancily", async () => {
    await mkdir(join(apache.root, "self"));
    await writeFile(join(apache.root, "self/a.txt"), "0123456789");
    for (const url of [apache.plain, apache.fancy]) {
      expect(await (await fetch(`${url}/self/`)).text()).toContain('href="a.txt"');
    }
  });
});

describeWith("git", "git http-backend", (git) => {
  test("speaks protocol 2 with filters and shallow clones, and asks for a password", async () => {
    await run("git", ["init", "-q", "--bare", join(git.root, "self.git")]);
    const advertisement = await fetch(`${git.url}/self.git/info/refs?service=git-upload-pack`, {
      headers: { "git-protocol": "version=2" },
    });
    const text = await advertisement.text();
    expect(text).toContain("version 2");
    expect(text).toMatch(/fetch=.*shallow.*filter/);
    expect((await fetch(`${git.privateUrl}/self.git/info/refs`)).status).toBe(401);
  });
});

describeWith("sshd", "sshd", (sshd) => {
  test("lets the user's key in, and no other", async () => {
    const home = await mkdtemp(join(tmpdir(), "pannier-ssh-"));
    const ssh = (key: string) => {
      const options = [
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        `UserKnownHostsFile=${sshd.knownHosts}`,
      ];
      const flags = ["-F", "/dev/null", ...options.flatMap((option) => ["-o", option])];
      const destination = `${sshd.user}@127.0.0.1`;
      const args = [...flags, "-i", key, "-p", String(sshd.port), destination, "echo hello"];
      return run("ssh", args, { env: { ...process.env, HOME: home, SSH_AUTH_SOCK: "" } });
    };
    expect((await ssh(sshd.key)).stdout).toBe("hello\n");
    await expect(ssh(sshd.strangerKey)).rejects.toThrow(/Permission denied/);
  });
});

test("an rclone that cannot serve S3, or not run, counts as missing", async () => {
  const program = join(await mkdtemp(join(tmpdir(), "pannier-rclone-")), "rclone");
  // What Debian's answers, and with success.
  const script = "#!/bin/sh\necho 'Serve a remote over a given protocol. Requires a subcommand'\n";
  await writeFile(program, script, { mode: 0o755 });
  expect(await cannotServeS3(program)).toContain("cannot serve S3");
  await writeFile(program, "#!/bin/sh\nexit 127\n");
  expect(await cannotServeS3(program)).toContain("cannot serve S3");
});
