"""An FTP server of pyftpdlib on 127.0.0.1 that lacks commands: odd-ftp.py DIRECTORY PORT COMMAND,…"""
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

DIRECTORY, PORT, LACKS = sys.argv[1:4]
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("u", "p", DIRECTORY, perm="elr")
for command in filter(None, LACKS.split(",")):
    del FTPHandler.proto_cmds[command]
server = FTPServer(("127.0.0.1", int(PORT)), FTPHandler)
print("ready", flush=True)
server.serve_forever()
