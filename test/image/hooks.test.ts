/** Hooks of a sidecar in its container: what they leave behind, and signals to the container beside it. */
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { until } from "../real/servers/process.ts";
import { buildImage, processOf, type RunOptions, startContainer, stopContainer } from "./images.ts";
import { describeImage, makeDirectory, USER } from "./support.ts";

/** Of the sidecar. */
const RUN = ["run", "--config", "/volume/pannier.yaml"];

/** A directory that is `/volume` of containers, with a source, and a configuration with this hook. */
async function makeWork(postPublish: unknown): Promise<string> {
  const directory = await makeDirectory();
  await mkdir(join(directory, "site"));
  await writeFile(join(directory, "site/page"), "page");
  const mount = { target: "content", sources: ["site"], hooks: { postPublish } };
  const config = { mounts: [mount], http: { enabled: false } };
  await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
  await chown(directory, USER, USER);
  await chmod(directory, 0o755);
  return directory;
}

describeImage("hooks in a container", (images) => {
  let image = "";

  beforeAll(async () => {
    ({ image } = await buildImage(images, "file"));
  });

  function start(work: string, args: readonly string[], options: RunOptions = {}) {
    const volumes = { [work]: "/volume" };
    const container = startContainer(images, image, args, { volumes, ...options });
    onTestFinished(() => stopContainer(images, container.name));
    return container;
  }

  test("leave no process behind, nor one that has ended", async () => {
    // Out of the hook's process group, and its parent is process 1 once the hook has ended.
    const orphan = "echo >orphan; exec sleep 1000";
    const hook = `cd /volume; setsid sh -c "${orphan}" >/dev/null 2>&1 & until [ -e /volume/orphan ]; do sleep 0.1; done`;
    const work = await makeWork([
      { command: ["sh", "-c", hook] },
      { command: ["touch", "/volume/after"] },
    ]);
    const { name } = start(work, RUN);
    await until("the second hook", async () => existsSync(join(work, "after")));
    expect(existsSync(join(work, "orphan"))).toBe(true);
    const first = await processOf(images, name);
    /** Those that ended and were not waited for are among them: proc_pid_task(5). */
    const children = async () => {
      const list = await readFile(`/proc/${first}/task/${first}/children`, "utf8");
      return list.trim().split(" ").length;
    };
    await expect.poll(children).toBe(1);
    // The sidecar itself.
    const [child = ""] = (await readFile(`/proc/${first}/task/${first}/children`, "utf8")).split(
      " ",
    );
    expect(await readFile(`/proc/${child}/cmdline`, "utf8")).toContain("run\0--config");
  });

  /** A container that tells in `/volume/told` what signals it gets, beside which a sidecar has sent it one. */
  async function signalled(user: number) {
    const work = await makeWork({ signal: "SIGHUP", process: "sh", retries: 0 });
    await writeFile(join(work, "told"), "");
    await chown(join(work, "told"), user, user);
    const application = `
      trap 'echo reload >>/volume/told' HUP
      trap exit TERM
      echo start >>/volume/told
      while :; do sleep 0.1; done`;
    const options = { entrypoint: "/bin/sh", flags: [`--user=${user}`] };
    const { name } = start(work, ["-c", application], options);
    const told = () => readFile(join(work, "told"), "utf8");
    await until("the application", async () => (await told()) === "start\n");
    const flags = [`--pid=container:${name}`];
    const { stderr } = await start(work, [...RUN, "--once"], { flags }).ended;
    return { stderr, told };
  }

  test("signal a process of the same user in a shared namespace", async () => {
    const { told } = await signalled(USER);
    await expect.poll(told).toBe("start\nreload\n");
  });

  test("say so where that process is of another user", async () => {
    const { stderr, told } = await signalled(101);
    expect(stderr).toContain('process "sh" belongs to another user; run both as the same one');
    expect(await told()).toBe("start\n");
  });
});
