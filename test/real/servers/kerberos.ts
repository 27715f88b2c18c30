import { writeFile } from "node:fs/promises";

/** Writes what programs have as `KRB5_CONFIG`: a realm, in upper case, with the domain of its name, and its KDC on this machine. */
export async function writeKrb5Config(path: string, realm: string): Promise<void> {
  await writeFile(
    path,
    `[libdefaults]
default_realm = ${realm}
dns_lookup_kdc = false
[realms]
${realm} = {
  kdc = 127.0.0.1
}
[domain_realm]
.${realm.toLowerCase()} = ${realm}
`,
  );
}
