import type { KnipConfig } from "knip";

const config: KnipConfig = {
  workspaces: {
    ".": {
      // What tests run in a process, a browser and a network namespace of their own, and what the Dockerfile runs.
      entry: [
        "test/program/attacker.ts",
        "test/program/before-target.ts",
        "test/program/bundle/node-adapter.js",
        "test/program/bundle/shelf-adapter.js",
        "test/program/endless.ts",
        "test/real/servers/relay.ts",
        "apps/sidecar/src/add-node.ts",
        "scripts/pack.ts",
      ],
      // Of the system, for the real servers, benches and pictures; skipped by name where absent.
      ignoreBinaries: [
        "dpkg-query",
        "go",
        "mount",
        "openssl",
        "script",
        "smbcontrol",
        "smbpasswd",
        "smbstatus",
        "ssh-agent",
        "ssh-keygen",
        "strace",
        "umount",
        "unshare",
      ],
    },
    // Of the system: the tests of a full volume and of shared blocks, skipped by name where not permitted.
    "packages/core": {
      // A thread is started by its URL, processes by tests by their path.
      entry: ["src/{lane,state,transfer}/*-worker.ts", "test/*-child.ts"],
      ignoreBinaries: ["mkfifo", "mount", "setpriv", "umount"],
    },
    "packages/adapter-file": {
      // A thread is started by its URL.
      entry: ["src/walk-worker.ts", "src/file-lane.ts"],
      ignoreBinaries: ["mkfifo", "mount", "umount", "unshare"],
    },
    "packages/adapter-git": {
      // A thread loads it by its URL.
      entry: ["src/git-lane.ts"],
      // What signs in its tests, skipped by name where absent.
      ignoreBinaries: ["gpg", "gpgconf", "ssh-keygen"],
    },
    // A thread loads it by its URL.
    "packages/adapter-azure": { entry: ["src/azure-lane.ts"] },
    "packages/adapter-gcs": { entry: ["src/gcs-lane.ts"] },
    "packages/adapter-http": { entry: ["src/{http,archive}-lane.ts"] },
    "packages/adapter-oci": { entry: ["src/image-lane.ts"] },
    "packages/adapter-release": { entry: ["src/archive-lane.ts"] },
    // A test starts the process by its path.
    "packages/adapter-s3": { entry: ["src/s3-lane.ts", "test/*-child.ts"] },
    "packages/adapter-webdav": { entry: ["src/webdav-lane.ts"] },
    // The template is copied, and then has a manifest of its own.
    "packages/create-pannier-adapter": { ignore: ["template/**"] },
    // A process is started by its URL.
    "packages/adapter-nfs": { entry: ["src/nfs-helper.ts", "test/fake-helper.js"] },
    "packages/adapter-smb": {
      // A process is started by its URL, another by tests.
      entry: ["src/smb-helper.ts", "test/fake-helper.ts"],
    },
    // What browsers load.
    "packages/daemon": { entry: ["assets/*.js"], ignoreBinaries: ["mkfifo"] },
    // What the launcher starts from dist, and what a test loads by its path.
    "packages/cli": { entry: ["src/bin.ts", "test/shelf-adapter.ts"] },
  },
};

export default config;
