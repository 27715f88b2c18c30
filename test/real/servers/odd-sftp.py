"""An SFTP server of asyncssh on 127.0.0.1 that leaves out attributes: odd-sftp.py PORT LEFT-OUT"""
import asyncio
import os
import sys

import asyncssh

PORT, LEFT_OUT = int(sys.argv[1]), sys.argv[2]


def less(found):
    if isinstance(found, os.stat_result):
        found = asyncssh.SFTPAttrs.from_local(found)
    if LEFT_OUT == "permissions":
        found.permissions = None
    if LEFT_OUT == "types" and found.permissions is not None:
        found.permissions &= 0o7777
    if LEFT_OUT == "times":
        found.mtime = found.atime = None
    return found


class Files(asyncssh.SFTPServer):
    def lstat(self, path):
        return less(super().lstat(path))

    def stat(self, path):
        return less(super().stat(path))

    def fstat(self, file):
        return less(super().fstat(file))


class Everybody(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    await asyncssh.listen("127.0.0.1", PORT, server_host_keys=[key], server_factory=Everybody, sftp_factory=Files)
    print(key.get_fingerprint(), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
