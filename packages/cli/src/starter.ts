/** The configuration that `pannier init` writes: what most mounts need, and the rest to be taken in by removing a `# `. */
import { MOUNT_OPTIONS } from "@pannier/core";

/** A comment of the form `# key: value` is a setting that is left out; other comments begin with a capital. */
export function starterConfig(url: string, name: string, schema: string): string {
  return `# yaml-language-server: $schema=${schema}
# \`pannier validate\` checks this file. \`pannier run\` keeps its mounts in sync.
mounts:
  - name: ${name}
    # The files are at ./content/${name}/${MOUNT_OPTIONS.link.default}, a symlink that is replaced when a new revision is complete.
    target: ./content/${name}
    sources:
      # Several are layered: a later one wins over those before it.
      - url: ${JSON.stringify(url.replaceAll("${", "$${"))}
        # Place it below this directory of the tree:
        # into: docs
        # Credentials in files, such as mounted Secrets. They are read again when they change.
        # credentials:
        #   username: reader
        #   passwordFile: /run/secrets/password
    # Time between two polls of the sources:
    period: ${MOUNT_OPTIONS.period.default}
    # Complete trees to keep, for rollbacks:
    keep: ${MOUNT_OPTIONS.keep.default}
    # Leave files out, by gitignore's rules:
    # exclude: ["*.psd", drafts/]
    # Refuse a tree that is too large, or a sync that deletes too much:
    # maxBytes: 1Gi
    # maxDelete: 50%
    # hooks:
      # Checks the new tree. If it does not exit with 0, the published tree stays.
      # prePublish: { command: [./check, --strict], timeout: 30s }
      # Tells the application about a new revision:
      # postPublish: { url: "http://127.0.0.1:9000/-/reload", retries: 5 }

# Probes, metrics and the dashboard:
http:
  port: 8080
  # With a token in a file, others can ask for a sync: POST /sync, and webhooks.
  # triggerTokenFile: /run/secrets/trigger-token
  # webhookSecretFile: /run/secrets/webhook-secret
`;
}
