"""What keeps a page safe that strangers can reach: host names, sizes of requests, files they may name, disk space."""
