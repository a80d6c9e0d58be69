"""The in-process network: sockets whose bytes stay in the process, under the methods of `socket.socket`."""
